"""The torch half of `analyse`: models, torch's profiler, and `torch.compile`."""

from __future__ import annotations

import copy
import os
import shutil
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
import torchvision  # noqa: F401 - brings Triton, which must not come after TensorFlow (nor with torch.compile)
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from ftjob_workloads import digits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

seed = torch.manual_seed
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Subject:
    """A model, one batch for it, and its loss."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    loss: Callable[[Any], Tensor]

    def __post_init__(self) -> None:
        self.model.to(DEVICE)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def twin(self) -> Subject:
        """Return another one with the same weights and the same batch."""
        return Subject(copy.deepcopy(self.model), self.inputs, self.loss)

    def step(self, forward: Callable[..., Any] | None = None) -> float:
        """Do a step of training, by the model or what was compiled from it; return the loss."""
        self.optimizer.zero_grad()
        loss = self.loss((self.model if forward is None else forward)(*self.inputs))
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.item()  # waits for a GPU


def digits_cnn(batch: int) -> Subject:
    """Build two convolutions that read handwritten digits."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, digits.CLASSES),
    )
    images, labels = _digits(batch)
    return Subject(model, (images.permute(0, 3, 1, 2),), partial(F.cross_entropy, target=labels))


def attention(batch: int) -> Subject:
    """Take the reader of rows of `ftjob_workloads.attention`, with its own attention."""
    from ftjob_workloads.attention import RowReader, attend  # noqa: PLC0415 - only who wants it

    images, labels = _digits(batch)
    return Subject(RowReader(attend), (images,), partial(F.cross_entropy, target=labels))


def vision(batch: int) -> Subject:
    """Take the torch half of `ftjob_workloads.hybrid_vision`, on digits as large as its pictures."""
    from ftjob_workloads import hybrid_vision  # noqa: PLC0415 - brings OpenCV and TensorFlow

    images, labels = _digits(batch)
    large = F.interpolate(images.permute(0, 3, 1, 2), size=hybrid_vision.SIDE).expand(-1, 3, -1, -1)
    return Subject(
        hybrid_vision.torch_model(), (large.contiguous(),), partial(F.cross_entropy, target=labels)
    )


def bert(batch: int) -> Subject:
    """Take the BERT of `ftjob_workloads.hybrid_nlp`, on Python's language reference."""
    from ftjob_workloads import hybrid_nlp, text, wordpieces  # noqa: PLC0415 - brings transformers and TensorFlow

    tokens = torch.from_numpy(text.load(wordpieces.LENGTH).held_out[:batch]).to(DEVICE)
    return Subject(
        hybrid_nlp.make_bert(text.VOCABULARY),
        (tokens, (tokens != text.PAD).long()),
        lambda output: output.last_hidden_state.square().mean(),
    )


def transformer(batch: int) -> Subject:
    """Take the masked language model of `ftjob_workloads.transformer_lm`, on Python's language reference."""
    from ftjob_workloads import text  # noqa: PLC0415 - only who wants it
    from ftjob_workloads.transformer import MaskedLM  # noqa: PLC0415

    lines = torch.from_numpy(text.load(64).held_out[:batch])
    chance = torch.rand(lines.shape, generator=torch.Generator().manual_seed(0))
    asked = ((chance < 0.15) & (lines != text.PAD)).to(DEVICE)
    lines = lines.to(DEVICE)
    return Subject(
        MaskedLM(length=64, width=128, heads=4, depth=2, kind="sinusoidal"),
        (lines.masked_fill(asked, text.MASK), asked),
        partial(F.cross_entropy, target=lines[asked]),
    )


def _digits(batch: int) -> tuple[Tensor, Tensor]:
    learn, _ = digits.load()
    return torch.from_numpy(learn.images[:batch]).to(DEVICE), torch.from_numpy(learn.labels[:batch]).to(
        DEVICE
    )


def capture(subject: Subject, folder: Path, worker: str, steps: int) -> list[dict[str, Any]]:
    """Profile steps of training.

    Parameters
    ----------
    subject
        What to train.
    folder
        Where to write the trace.
    worker
        The rank's name, with which the file's name begins.
    steps
        How many; they are marked ``ProfilerStep#1`` and so on.

    Returns
    -------
    list of dict
        The five operators that took the most time themselves: name, calls and milliseconds a step.
    """
    subject.step()
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])
    with profile(activities=activities, record_shapes=True) as profiler:
        for step in range(1, steps + 1):
            with record_function(f"ProfilerStep#{step}"):
                subject.step()
    profiler.export_chrome_trace(str(folder / f"{worker}.{time.time_ns()}.pt.trace.json.gz"))
    operators = [event for event in profiler.key_averages() if not event.key.startswith("ProfilerStep")]
    own = "self_device_time_total" if DEVICE.type == "cuda" else "self_cpu_time_total"
    operators.sort(key=lambda event: getattr(event, own), reverse=True)
    return [
        {"name": e.key, "calls": e.count / steps, "ms": getattr(e, own) / 1000 / steps} for e in operators[:5]
    ]


def variants(subject: Subject) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    """Return a step of training before and after compilation, and what had to be left out, and why."""
    eager, compiled = subject.twin(), subject.twin()
    found: dict[str, Callable[[], float]] = {"eager": eager.step}
    compiler = os.environ.get("CXX", "g++")
    if DEVICE.type == "cpu" and not shutil.which(compiler):
        return found, {"torch.compile": f"it needs a C++ compiler, and there is no {compiler}: install g++"}
    # Forward and backward become a graph each, and C++ (or Triton) in which neighbouring operators are fused.
    found["torch.compile"] = partial(compiled.step, torch.compile(compiled.model))
    return found, {}


def proof(_subject: Subject) -> dict[str, Any]:
    """Return what shows that graphs were compiled: how many, and how often Python had to take over."""
    counters: Any = torch._dynamo.utils.counters  # noqa: SLF001 - where torch itself reports it
    return {
        "graphs": counters["stats"]["unique_graphs"],
        "graphBreaks": sum(counters["graph_break"].values()),
    }
