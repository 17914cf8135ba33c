"""`steps.bin` and `metrics.json`: how far the training of this process is."""

from __future__ import annotations

import atexit
import math
import os
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .. import json_file, notes, process
from ..captures.of_process import of_process
from ..captures.orders import Position
from ..clock import begin as clock_begin
from ..clock import recorder
from ..protocol import files, variables
from ..protocol import steps as layout
from .lead import Lead

_SECOND = 1_000_000_000


class StepCount:
    """The steps of this process, if it is the one in its rank that trains: the first one that steps."""

    def __init__(self) -> None:
        self.step = 0
        self.executed = 0  # steps that this process took itself; `step` goes on where a checkpoint left off
        self.fitting = False  # a Keras `fit` is running and reports its batches
        self._words: Optional[memoryview] = None
        self._epochs: Any = None  # the same memory, as floating point numbers
        self._others: Optional[memoryview] = None  # that of the process that trains, if it is another one
        self._lead = Lead()
        self._captures: Any = None
        self._is_served = False  # whether it was looked which captures there are
        self._gave_way = False  # before there was anything to capture
        self._metrics: Tuple[int, Mapping[str, Any]] = (0, {})
        self._metrics_written = 0

    def mine(self) -> bool:
        """Whether this process is the one that counts; the first to ask in the rank is."""
        if self._words is None and self._others is None:
            self._claim()
        return self._words is not None

    def seen(self) -> None:
        """Say that an optimizer has stepped, even if that is no step of its own: the rank does not hang."""
        words = self._words if self.mine() else self._others
        if words:
            words[layout.SEEN_NS] = time.time_ns()

    def stepped(self, optimizer: object, framework: str, *, steps: int = 1, exact: bool = False) -> None:
        """Count what an optimizer has done in one call, unless others have counted it already.

        To be called between two steps, by the thread that steps.
        """
        if steps:
            self.seen()
        if not self.fitting and self.mine():
            gained = self._lead.count(optimizer, steps)
            if gained or self._lead.leads(optimizer):
                self.record(self.step + gained, framework, exact=exact)

    def record(self, step: int, framework: str, *, exact: bool) -> None:
        """Say that `step` steps are done. To be called between two steps, by the thread that steps."""
        words = self._words
        if words is None:
            return
        moved = step - self.step
        if moved < 0 and not exact:
            return
        if moved > 0:
            recorder.current.ended(step, moved, framework)
        elif moved:
            recorder.current.restart()
        if moved:
            now = time.time_ns()
            if not self.executed:
                words[layout.FIRST_NS] = now
            words[layout.LAST_NS] = words[layout.SEEN_NS] = now
            words[layout.STEP] = self.step = step
        words[layout.FLAGS] = layout.EXACT if exact else 0
        if moved > 0:
            self.executed += moved
            captures = self._captures
            if captures is not None and captures.is_wanted:
                captures.advance(self.executed, step, framework)

    def resume(self, step: int) -> None:
        """Start counting at `step`, where a checkpoint left off."""
        if not self.executed and self._words is not None:
            self.step = step

    def give_way(self) -> None:
        """Leave the framework's profiler to the script, which is about to use it."""
        if self._captures is not None:
            self._captures.give_way()
        else:
            self._gave_way = True

    def outlook(self, total: int, epoch: float) -> None:
        """Say how many steps there will be (0: unknown) and how many epochs are done."""
        if self._words is not None:
            self._words[layout.TOTAL] = total
            self._epochs[layout.EPOCH] = epoch

    def metrics(self, values: Mapping[str, Any]) -> None:
        """Keep the latest metrics and write them, at most once a second."""
        if self._words is not None:
            now = time.time_ns()
            self._metrics = (now, values)
            if now - self._metrics_written >= _SECOND:
                self.flush()

    def flush(self) -> None:
        """Write the latest metrics now."""
        taken, values = self._metrics
        if self._words is None or taken <= self._metrics_written:
            return
        self._metrics_written = taken
        finite = _finite(values)
        if finite:
            json_file.write(os.path.join(os.environ[variables.RANK_DIR], files.METRICS), finite)

    def _claim(self) -> None:
        path = os.path.join(os.environ[variables.RANK_DIR], files.STEPS)
        self._others = memoryview(b"")  # until the end of this proves otherwise
        mapped, is_mine = process.claim(path, len(layout.BLANK))
        if not is_mine:
            self._others = memoryview(mapped).cast("Q")
            return
        mapped[:] = layout.BLANK
        self._words = memoryview(mapped).cast("Q")
        self._epochs = memoryview(mapped).cast("d")
        notes.write()
        clock_begin.begin()
        self._serve()
        atexit.register(self._end, os.getpid())

    def serve_without_steps(self) -> None:
        """Take captures in the rank's first process, although it may never make a step that is seen."""
        if not self._is_served and process.speaks():
            self._serve()
            atexit.register(self._end, os.getpid())

    def _serve(self) -> None:
        if not self._is_served:
            self._is_served = True
            self._captures = of_process(self._position)
            if self._gave_way:
                self.give_way()

    def _position(self) -> Position:
        words = self._words
        if words is None or self.executed < 2:
            return Position(self.step, self.executed)
        seconds = (words[layout.LAST_NS] - words[layout.FIRST_NS]) / _SECOND / (self.executed - 1)
        return Position(self.step, self.executed, max(0.0, seconds))

    @notes.guarded
    def _end(self, pid: int) -> None:
        if pid != os.getpid():
            return
        if self._words is not None:
            self.seen()  # an interpreter may take long to end
        captures, self._captures = self._captures, None  # the last reading begins no capture
        for read in _last_readings:
            read()
        self.flush()
        if captures is not None:
            captures.end()


def _finite(values: Mapping[str, Any]) -> Dict[str, float]:
    numbers = {}
    for name, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue  # not a scalar
        if math.isfinite(number):
            numbers[str(name)] = number
    return numbers


current = StepCount()
_last_readings: List[Callable[[], None]] = []


def at_end(read: Callable[[], None]) -> None:
    """Have the steps read once more before the process that trains ends."""
    _last_readings.append(read)


def _forget() -> None:
    # In a forked child: the steps and the capture are the parent's. What the parent's state holds open stays
    # open, since to close the inherited mapping is nothing that we need.
    global current
    _parents.append(current)
    current = StepCount()
    current._gave_way = _parents[-1]._gave_way


_parents: List[StepCount] = []
os.register_at_fork(after_in_child=_forget)
