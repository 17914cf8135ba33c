"""Trainings with a profiler of their own, for `hook_modes.py`: of torch, and of Python itself.

A mode is called INTERFACE_BEGIN_END: before step BEGIN the profiler begins, after step END it ends.
"""

import cProfile
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import profiler_legacy

torch.optim.SGD([torch.zeros(1)])

STEPS = 12
autograd: Any = torch.autograd.profiler
of_old: Any = profiler_legacy


class Own:
    """A profiler of the script's own."""

    def begin(self) -> None:
        """Begin to profile."""

    def end(self, steps: range) -> None:
        """End it; what it shows has to be whole."""

    def step(self) -> None:
        """Say that a step is done."""


class Context(Own):
    """One that is a context manager."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def begin(self) -> None:
        self.made.__enter__()

    def end(self, steps: range) -> None:
        self.made.__exit__(None, None, None)
        self.check(steps)

    def check(self, steps: range) -> None:
        """Look at what it has recorded."""
        names = {event.key for event in self.made.key_averages()}
        assert {f"step-{step}" for step in steps} <= names, names
        assert "aten::addmm" in names


class Kineto(Context):
    """`torch.profiler`."""

    def __init__(self) -> None:
        super().__init__(torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]))

    def check(self, steps: range) -> None:
        super().check(steps)
        path = Path(tempfile.mkdtemp()) / "own.json"
        self.made.export_chrome_trace(str(path))
        names = {event.get("name") for event in json.loads(path.read_text())["traceEvents"]}
        assert {f"step-{step}" for step in steps} <= names, names


class Scheduled(Context):
    """`torch.profiler` with a schedule of its own, as Lightning uses it."""

    def __init__(self) -> None:
        self.cycles = 0
        schedule = torch.profiler.schedule(wait=1, warmup=1, active=2)
        super().__init__(torch.profiler.profile(schedule=schedule, on_trace_ready=self.ready))

    def ready(self, profile: Any) -> None:
        # The last one may end before its first step.
        self.cycles += any(event.key == "aten::addmm" for event in profile.key_averages())

    def step(self) -> None:
        self.made.step()

    def check(self, steps: range) -> None:
        assert self.cycles >= len(steps) // 4, self.cycles


class InThread(Kineto):
    """Begun and ended by another thread, which sees its own work alone."""

    def begin(self) -> None:
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        with self.made, torch.profiler.record_function("in-the-thread"):
            torch.ones(3).add_(1)
            self.ended.wait()

    def end(self, steps: range) -> None:
        self.ended.set()
        self.thread.join()
        assert "in-the-thread" in {event.key for event in self.made.key_averages()}


class Python(Own):
    """`cProfile`."""

    def begin(self) -> None:
        self.made = cProfile.Profile()
        self.made.enable()

    def end(self, steps: range) -> None:
        self.made.disable()
        self.made.create_stats()
        stats: Any = self.made
        calls = sum(found[0] for key, found in stats.stats.items() if key[2] == "train")
        assert calls == len(steps), (calls, steps)


MAKERS: dict[str, Callable[[], Own]] = {
    "kineto": Kineto,
    "scheduled": Scheduled,
    "legacy": lambda: Context(autograd.profile()),
    "old": lambda: Context(of_old.profile()),
    "itt": lambda: Bare(autograd.emit_itt()),
    "thread": InThread,
    "python": Python,
}


class Bare(Context):
    """One that records nothing here."""

    def check(self, steps: range) -> None:
        pass


def __getattr__(name: str) -> Callable[[], int]:
    interface, begin, end = name.split("_")
    if interface not in MAKERS:
        raise AttributeError(name)
    return lambda: _train(MAKERS[interface], int(begin), int(end))


def _train(make: Callable[[], Own], begin: int, end: int) -> int:
    torch.set_num_threads(1)
    own: Own | None = None
    model = torch.nn.Linear(64, 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(32, 64)

    def train(step: int) -> None:
        with torch.profiler.record_function(f"step-{step}"):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    for step in range(1, STEPS + 1):
        if step == begin:
            own = make()
            own.begin()
        train(step)
        if own is not None:
            own.step()
        if step == end and own is not None:
            own.end(range(begin, end + 1))
            own = None
    assert sys.getprofile() is None
    return STEPS
