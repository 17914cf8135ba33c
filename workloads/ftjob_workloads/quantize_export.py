"""Make a trained torch model smaller and faster, save it in each way there is, and measure what it was worth.

A network of 7 MB learns handwritten digits. From it come

* ``float.pt2``: as it is, by ``torch.export``;
* ``int8.pt2``: quantized by PT2E, after a calibration with real images, exported;
* ``pruned.pt2``: without the half of the hidden layer that matters least, trained on, and really cut out;
* ``pruned-int8.pt2``: both;
* ``float.ts`` and ``int8-eager.ts``: what people still ask for, TorchScript and eager quantization.

A fresh process loads each file, and has to find the outputs of the model that was saved, and a test accuracy
at most ``--max-loss`` points below that of the float model. Sizes and times are printed as they are: an
exported int8 model, for one, is small, but slower than the float model until a compiler has seen it (in the
full size, where there is a C++ compiler).

Seen: 6.8 MB as floats, 1.9 as int8, 3.7 pruned, 1.1 both; no test accuracy lower by more than 0.3 points
(0.975 in the smoke size, 0.94 is demanded); 5.2 ms of one core for a batch of 32 as floats, 17 as exported
int8 without a compiler, 0.8 as eager int8.

    python -m ftjob_workloads.quantize_export
"""

# Much of torch has no types.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune

from ftjob_workloads import artefact, digits, export_torchscript, life, quantize_eager

# Behind `artefact`, which keeps torchao's remark about itself out of the log.
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # isort: skip
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (  # isort: skip
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TOLERANCE = 1e-4
"""Greatest difference between an output of a saved model and of the one that was saved."""

EXPORTED = ("float.pt2", "int8.pt2", "pruned.pt2", "pruned-int8.pt2")
SCRIPTED = ("float.ts", "int8-eager.ts")

Tensors = tuple[torch.Tensor, torch.Tensor]


class Net(nn.Module):
    """A convolutional network, most of whose weights are in one hidden layer.

    Each ReLU is a module of its own and used once: quantizers match modules.
    """

    FUSE = (
        ("features.0", "features.1"),
        ("features.2", "features.3"),
        ("features.5", "features.6"),
        ("hidden", "relu"),
    )
    """What eager quantization has to be told: the modules that become one."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(128 * 4 * 4, hidden)
        self.relu = nn.ReLU()
        self.head = nn.Linear(hidden, digits.CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, 10) of images (n, 1, 8, 8)."""
        logits: torch.Tensor = self.head(self.relu(self.hidden(self.features(images))))
        return logits


def tensors(part: digits.Digits) -> Tensors:
    """Return images (n, 1, 8, 8) and labels."""
    return torch.from_numpy(part.images.transpose(0, 3, 1, 2).copy()), torch.from_numpy(part.labels)


def learn(model: Net, optimizer: torch.optim.Optimizer, data: Tensors, order: Sequence[int]) -> float:
    """Go once through the data in this order; return the mean loss."""
    images, labels = data
    losses = []
    model.train()
    for rows in torch.tensor(order).split(64):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return sum(losses) / len(losses)


def calibration(data: Tensors, samples: int) -> list[torch.Tensor]:
    """Return batches of images that the ranges of activations are taken from; none of the test set."""
    return list(data[0][:samples].split(64))


def export(model: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """Trace a model for batches of any size."""
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def quantize(model: nn.Module, batches: Sequence[torch.Tensor]) -> nn.Module:
    """Return an int8 model by PT2E: trace, insert observers, calibrate, convert."""
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(export(model, batches[0]).module(), quantizer)
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    converted: torch.fx.GraphModule = convert_pt2e(prepared)
    # The float weights are still there, unused, and would be saved too: a larger file than before.
    used = {node.target for node in converted.graph.nodes if node.op == "get_attr"}
    for name, _ in list(converted.named_parameters()):
        if name not in used:
            owner, _, leaf = name.rpartition(".")
            delattr(converted.get_submodule(owner), leaf)
    return converted


def mask(model: Net, fraction: float) -> None:
    """Hold the hidden units with the smallest weights at zero, by torch's own pruning."""
    prune.ln_structured(model.hidden, "weight", amount=fraction, n=1, dim=0)
    # A unit without weights still gives its bias.
    prune.custom_from_mask(model.hidden, "bias", model.hidden.get_buffer("weight_mask")[:, 0])


def cut(model: Net) -> Net:
    """Return a smaller model without the units that `mask` holds at zero: masks alone save nothing."""
    for name in ("weight", "bias"):
        prune.remove(model.hidden, name)
    keep = model.hidden.weight.abs().sum(1) > 0
    small = Net(int(keep.sum())).eval()
    small.features.load_state_dict(model.features.state_dict())
    with torch.no_grad():
        small.hidden.weight.copy_(model.hidden.weight[keep])
        small.hidden.bias.copy_(model.hidden.bias[keep])
        small.head.weight.copy_(model.head.weight[:, keep])
        small.head.bias.copy_(model.head.bias)
    return small


class Workshop:
    """The parts of the program; what one leaves for another is in files, so that a resumed run finds it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        train, test = digits.load()
        self.data, self.test = tensors(train), tensors(test)
        self.folder: Path = args.results_dir / "models"
        self.folder.mkdir(parents=True, exist_ok=True)

    def parts(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        """Return what there is to do."""
        epochs = {f"epoch {n}": partial(self.train, n) for n in range(1, self.args.epochs + 1)}
        compiled = {} if self.args.smoke else {"compiled": self.compiled}
        return {
            **epochs,
            "trained": self.trained,
            "float": self.export_float,
            "int8": self.quantize,
            "pruned": self.prune,
            "fresh process": self.fresh_process,
            **compiled,
        }

    def train(self, epoch: int) -> Mapping[str, Any]:
        """Learn for one epoch."""
        file = self.args.checkpoint_dir / "checkpoint.pt"
        torch.manual_seed(self.args.seed)
        model = Net(self.args.hidden)
        optimizer = torch.optim.AdamW(model.parameters(), self.args.learning_rate)
        if epoch > 1:
            state = torch.load(file, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        loss = learn(model, optimizer, self.data, self.order(epoch))
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        life.replace(file, lambda fresh: torch.save(state, fresh))
        print(f"epoch {epoch} loss {loss:.4f}")
        return {"loss": loss}

    def order(self, epoch: int) -> list[int]:
        """Return the order in which an epoch uses the samples."""
        count = len(self.data[1])
        rows: list[int] = np.random.default_rng((self.args.seed, epoch)).permutation(count).tolist()
        return rows

    def model(self) -> Net:
        """Return the trained model."""
        model = Net(self.args.hidden).eval()
        state = torch.load(self.args.checkpoint_dir / "checkpoint.pt", weights_only=True)
        model.load_state_dict(state["model"])
        return model

    def trained(self) -> Mapping[str, Any]:
        """Test the model, and keep the test set for the process that loads the files."""
        images, labels = self.test
        torch.save(self.test, self.folder / "test.pt")
        with torch.no_grad():
            accuracy = float((self.model()(images).argmax(1) == labels).float().mean())
        bar = self.args.min_accuracy
        life.require(accuracy >= bar, f"test accuracy {accuracy:.4f} is below --min-accuracy {bar}")
        return {"accuracy": accuracy}

    def save(self, name: str, model: nn.Module, write: Callable[[Path], None] | None = None) -> None:
        """Write a model, by ``torch.export`` if nothing else is said, and its outputs for the test set."""
        images = self.test[0]
        with torch.inference_mode():
            torch.save(model(images), self.folder / f"{name}.expected")
        if write:
            life.replace(self.folder / name, write)
        else:
            program = export(model, images[:2])
            life.replace(self.folder / name, lambda fresh: torch.export.save(program, fresh))

    def export_float(self) -> Mapping[str, Any]:
        """Save the model as it is."""
        model = self.model()
        self.save("float.pt2", model)
        self.save("float.ts", model, partial(export_torchscript.save, model))
        return {}

    def quantize(self) -> Mapping[str, Any]:
        """Save int8 models, quantized by PT2E and in eager mode."""
        batches = calibration(self.data, self.args.calibration_samples)
        self.save("int8.pt2", quantize(self.model(), batches))
        eager = quantize_eager.quantize(self.model(), Net.FUSE, batches)
        self.save("int8-eager.ts", eager, partial(quantize_eager.save, eager))
        return {"calibrationSamples": sum(len(batch) for batch in batches)}

    def prune(self) -> Mapping[str, Any]:
        """Save a model without the units that matter least, as floats and as int8."""
        model = self.model()
        mask(model, self.args.prune)
        optimizer = torch.optim.AdamW(model.parameters(), self.args.learning_rate / 3)
        for epoch in range(self.args.prune_epochs):
            learn(model, optimizer, self.data, self.order(self.args.epochs + 1 + epoch))
        small = cut(model)
        with torch.no_grad():
            difference = float((small(self.test[0]) - model(self.test[0])).abs().max())
        life.require(difference < TOLERANCE, f"cutting out zeros changed outputs by {difference:.2g}")
        self.save("pruned.pt2", small)
        self.save("pruned-int8.pt2", quantize(small, calibration(self.data, self.args.calibration_samples)))
        return {"units": small.hidden.out_features, "of": model.hidden.out_features}

    def fresh_process(self) -> Mapping[str, Any]:
        """Load all files in a process that has made none of them, and hold it against the bars."""
        found = self.measure(*EXPORTED, *SCRIPTED)
        show(found)
        before = found["float.pt2"]["accuracy"]
        for name, row in found.items():
            life.require(
                row["difference"] <= TOLERANCE,
                f"{name} gives other outputs in a fresh process: by {row['difference']:.2g}",
            )
            lost = (before - row["accuracy"]) * 100
            bar = self.args.max_loss
            life.require(lost <= bar, f"{name}: test accuracy fell by {lost:.2f} points, --max-loss is {bar}")
        return found

    def compiled(self) -> Mapping[str, Any]:
        """Measure the exported models once more, compiled by Inductor."""
        if not shutil.which("g++"):
            print("not compiled: there is no g++")
            return {"reason": "there is no g++"}
        found = self.measure("--compile", *EXPORTED)
        show(found)
        return found

    def measure(self, *args: str) -> dict[str, Any]:
        """Run `artefact` on these files."""
        # Without freezing, Inductor takes no int8 kernels.
        env = os.environ | {"TORCHINDUCTOR_FREEZING": "1"}
        command = [sys.executable, "-m", artefact.__name__, str(self.folder), *args]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def show(found: Mapping[str, Any]) -> None:
    """Print what was measured, beside the float model as ``torch.export`` saves it."""
    before = found["float.pt2"]
    print(f"{'model':24}{'MB':>8}{'x':>7}{'ms/batch':>10}{'x':>7}{'accuracy':>10}{'points':>8}")
    for name, row in found.items():
        size, time = row["bytes"] / 1e6, row["milliseconds"]
        points = (row["accuracy"] - before["accuracy"]) * 100
        print(
            f"{name:24}{size:8.2f}{row['bytes'] / before['bytes']:7.2f}{time:10.3f}"
            f"{time / before['milliseconds']:7.2f}{row['accuracy']:10.4f}{points:8.2f}"
        )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = life.parser("quantize_export", __doc__)
    add = p.add_argument
    add("--hidden", type=int, default=768, help="units of the hidden layer (default: %(default)s)")
    add("--epochs", type=int, help="(default: 12, 5 with --smoke)")
    add("--learning-rate", type=float, default=0.001, help="(default: %(default)s)")
    add("--calibration-samples", type=int, default=512, help="(default: %(default)s)")
    add("--prune", type=float, default=0.5, help="part of the hidden units to remove (default: %(default)s)")
    # One is too few: it costs about a point.
    add("--prune-epochs", type=int, default=3, help="of training after that (default: %(default)s)")
    add("--min-accuracy", type=float, default=0.94, help="exit 1 below it (default: %(default)s)")
    add("--max-loss", type=float, default=1.0, help="points; exit 1 above (default: %(default)s)")
    args = p.parse_args(argv)
    args.epochs = args.epochs or (5 if args.smoke else 12)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Train, make the models, load them in a fresh process, and write what was found.

    Returns
    -------
    int
        The exit code: 0, 1 if a bar was missed, 143 if SIGTERM came first.
    """
    args = parse(argv)
    return life.do_parts(args, Workshop(args).parts())


if __name__ == "__main__":
    sys.exit(main())
