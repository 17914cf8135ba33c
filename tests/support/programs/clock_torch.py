"""Trains in several ways on two ranks, and writes what it has spent itself, for the clock to be held against.

Each way leaves a line `{"way", "steps": [{"step", "whole", "input", "inner", "planted"}]}` in `truth.jsonl`:
milliseconds of whole steps, around the data's iterator and in the data set, and of sleeps planted elsewhere.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

dist: Any = distributed
RANK = int(os.environ["RANK"])
STEPS = 10
WIDTH = 64


class Slept:
    """Sleeps, and knows for how long."""

    def __init__(self) -> None:
        self.milliseconds = 0.0

    def nap(self, milliseconds: float) -> None:
        began = time.perf_counter()
        time.sleep(milliseconds / 1000)
        self.milliseconds += (time.perf_counter() - began) * 1000

    def take(self) -> float:
        taken, self.milliseconds = self.milliseconds, 0.0
        return taken


class Data(Dataset[torch.Tensor]):
    """Takes its time on one rank."""

    def __init__(self, milliseconds: float) -> None:
        self.slept = Slept()
        self._milliseconds = milliseconds

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> torch.Tensor:
        if self._milliseconds:
            self.slept.nap(self._milliseconds)
        return torch.full((WIDTH,), float(index % 7))


class Loader(DataLoader[torch.Tensor]):
    """As libraries make them."""


class Program:
    """One optimizer for all ways, so that its steps are the program's from the first on."""

    def __init__(self) -> None:
        self.step = 0
        self.models: dict[str, nn.Module] = {}
        self.optimizer: torch.optim.Optimizer | None = None
        self.planted = Slept()
        self.truth = Path(os.environ["FTJOB_RANK_DIR"], "truth.jsonl")

    def train(
        self, way: str, loss_of: Callable[[torch.Tensor], Any], *, data: float = 0, workers: int = 0
    ) -> None:
        """Make steps, and write what they were spent on."""
        assert self.optimizer is not None
        source = Data(data)
        batches: Iterator[torch.Tensor] = iter(Loader(source, batch_size=1, num_workers=workers))
        steps: list[dict[str, float]] = []
        began = time.perf_counter()
        for _ in range(STEPS):
            asked = time.perf_counter()
            batch = next(batches)
            got = time.perf_counter()
            self.optimizer.zero_grad(set_to_none=True)
            loss_of(batch).backward()
            self.optimizer.step()
            self.step += 1
            now = time.perf_counter()
            spent = {"whole": now - began, "input": got - asked}
            steps.append(
                {"step": self.step, "inner": source.slept.take(), "planted": self.planted.take()}
                | {name: seconds * 1000 for name, seconds in spent.items()}
            )
            began = now
        del batches
        with self.truth.open("a") as file:
            file.write(json.dumps({"way": way, "steps": steps}) + "\n")


def slow_backward(tensor: Any, program: Program, milliseconds: float) -> Any:
    """Give a tensor whose gradient takes its time."""
    if milliseconds:
        tensor.register_hook(lambda _gradient: program.planted.nap(milliseconds))
    return tensor


def by_hand(model: nn.Module) -> Callable[[torch.Tensor], Any]:
    """Exchange gradients as programs without DDP do, and those of a group that is made later."""
    group = dist.new_group([0, 1])

    def loss_of(batch: torch.Tensor) -> Any:
        loss = model(batch).sum()
        handles = [dist.all_reduce(torch.ones(4), group=group, async_op=True) for _ in range(3)]
        for handle in handles:
            handle.wait()
        return loss

    return loss_of


def with_metrics(model: nn.Module, program: Program, milliseconds: float) -> Callable[[torch.Tensor], Any]:
    """Have a metric averaged after DDP's own collectives, as many programs do."""

    class Then:
        def __init__(self, loss: Any) -> None:
            self.loss = loss

        def backward(self) -> None:
            self.loss.backward()
            dist.all_reduce(self.loss.detach().clone())

    def loss_of(batch: torch.Tensor) -> Then:
        inner = slow_backward(model(batch), program, milliseconds)
        return Then((inner * 2).sum())

    return loss_of


def reduce_scatter() -> None:
    """Call what gloo gives no future for."""
    whole, part = torch.ones(4), torch.empty(2)
    dist.reduce_scatter_tensor(part, whole)


def forks() -> None:
    """Fork a child that does as its parent does, but is not the one that trains."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            next(iter(Loader(Data(1), batch_size=1)))
            weight = nn.Parameter(torch.ones(2))
            weight.grad = torch.ones(2)  # torch's engine for gradients does not work in a forked child
            optimizer = torch.optim.SGD([weight], lr=0.1)
            for _ in range(5):
                optimizer.step()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def profiled(program: Program, loss_of: Callable[[torch.Tensor], Any]) -> None:
    """Use torch's profiler ourselves."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        program.train("profiled", loss_of)
    assert any(event.key for event in found.key_averages())


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    program = Program()
    plain, normed, compiled = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
    sharded = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    ddp = DistributedDataParallel(plain)
    ddp_normed = DistributedDataParallel(nn.Sequential(normed, nn.BatchNorm1d(WIDTH)).eval())
    for layer in sharded:
        fully_shard(layer)
    fully_shard(sharded)
    models = (plain, normed, sharded, compiled)
    program.optimizer = torch.optim.SGD(
        [weight for model in models for weight in model.parameters()], lr=1e-6, foreach=False
    )
    slow = RANK == 1

    def of_ddp(milliseconds: float) -> Callable[[torch.Tensor], Any]:
        # The hook is on the model's output, so before the gradients of which DDP's collectives consist.
        return lambda batch: (slow_backward(ddp(batch), program, milliseconds) * 2).sum()

    program.train("ddp healthy", of_ddp(0))
    program.train("ddp input", of_ddp(0), data=20 * slow)
    program.train("ddp backward", of_ddp(12 * slow))
    program.train("ddp metric", with_metrics(ddp, program, 12 * slow))
    # Its buffers are sent at the beginning of the forward pass, where all wait for rank 0.
    program.train("ddp buffers", lambda batch: ddp_normed(batch).sum(), data=20 * (RANK == 0))
    program.train(
        "fsdp backward", lambda batch: (slow_backward(sharded(batch), program, 12 * slow) * 2).sum()
    )
    program.train("fsdp input", lambda batch: sharded(batch).sum(), data=20 * slow)
    program.train("by hand", by_hand(compiled), data=20 * slow)
    reduce_scatter()
    forks()
    program.train("workers", of_ddp(0), workers=1)
    profiled(program, of_ddp(0))
    if "compiled" in sys.argv:
        together = DistributedDataParallel(compiled)
        fast = torch.compile(together)
        program.train("compiled", lambda batch: fast(batch).sum())
    print(f"STEPS={program.step}")
    if "destroy" in sys.argv:
        dist.destroy_process_group()


main()
