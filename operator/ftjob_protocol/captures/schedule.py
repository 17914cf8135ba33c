"""When a profile of several steps begins and ends, for those who take it and those who tell of it; pure."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

WAIT, WARM, ACTIVE = "wait", "warm", "active"


class Windows(NamedTuple):
    """The steps of `torch.profiler.schedule`: skip, then (wait, warm up, record) again and again."""

    skip_first: int = 0
    wait: int = 0
    warmup: int = 0
    active: int = 1
    repeat: int = 1
    """0: without end."""

    @classmethod
    def read(cls, spec: Mapping[str, Any]) -> Windows:
        """Read the schedule of a job's profiling."""
        return cls(
            int(spec.get("skipFirst", 0)),
            int(spec.get("wait", 0)),
            int(spec.get("warmup", 0)),
            max(1, int(spec.get("active", 1))),
            int(spec.get("repeat", 1)),
        )

    @classmethod
    def at(cls, first: int, steps: int, warmup: int) -> Windows:
        """Return one window that begins with step `first`, counted from 1."""
        warmup = min(warmup, max(0, first - 1))
        return cls(skip_first=max(0, first - 1 - warmup), warmup=warmup, active=max(1, steps))

    def first_step(self, capture: int) -> int:
        """Return the first step, counted from 1, of a capture, counted from 0."""
        cycle = self.wait + self.warmup + self.active
        return self.skip_first + capture * cycle + self.wait + self.warmup + 1


class Schedule:
    """Where in its windows a training is, whose steps may be seen several at a time.

    A framework that runs many steps in one call (`steps_per_execution`) can jump over a boundary; then a
    window begins late, but none is lost, and it always holds at least one seen stretch of steps.
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._end = 0
        self.phase = WAIT
        self.capture = 0
        self.first = 0

    @property
    def over(self) -> bool:
        """Whether no capture will come any more."""
        return self.phase == WAIT and 0 < self._windows.repeat <= self.capture

    def advance(self, done: int) -> str:
        """Say what the next step is when `done` steps are done: part of a wait, a warm-up or a capture.

        `capture` is the number of the present or next capture, `first` (from 1) the first step of an active
        one. Where one ends the answer is a wait, even if the next begins at once: then ask again.
        """
        if self.phase == ACTIVE and done >= self._end:
            self.capture += 1
            self.phase = WAIT
            return self.phase
        if self.phase != ACTIVE and not self.over:
            begin = self._windows.first_step(self.capture) - 1
            if done >= begin:
                self.phase = ACTIVE
                self.first = done + 1
                self._end = done + self._windows.active
            elif done >= begin - self._windows.warmup:
                self.phase = WARM
        return self.phase
