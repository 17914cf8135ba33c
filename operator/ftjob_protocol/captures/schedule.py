"""When a scheduled profile begins and ends; pure."""

from __future__ import annotations

from typing import Any, Mapping

WAIT, WARM, ACTIVE = "wait", "warm", "active"


class Schedule:
    """The windows of `torch.profiler.schedule`, for steps that may be seen several at a time.

    A framework that runs many steps in one call (`steps_per_execution`) can jump over a boundary; then a
    window begins late, but none is lost, and it always holds at least one seen stretch of steps.

    Parameters
    ----------
    spec
        The schedule of the job's profiling: skipFirst, wait, warmup, active, repeat (0: without end).
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._skip = int(spec.get("skipFirst", 0))
        self._wait = int(spec.get("wait", 0))
        self._warmup = int(spec.get("warmup", 0))
        self._active = max(1, int(spec.get("active", 1)))
        self._repeat = int(spec.get("repeat", 1))
        self._end = 0
        self.phase = WAIT
        self.capture = 0
        self.first = 0

    @property
    def over(self) -> bool:
        """Whether no capture will come any more."""
        return self.phase == WAIT and 0 < self._repeat <= self.capture

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
            cycle = self._wait + self._warmup + self._active
            begin = self._skip + self.capture * cycle + self._wait
            if done >= begin + self._warmup:
                self.phase = ACTIVE
                self.first = done + 1
                self._end = done + self._active
            elif done >= begin:
                self.phase = WARM
        return self.phase
