"""The thread's part in captures that are ordered: it sees the order, and works those that begin at a time."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional

from .. import notes, process
from ..protocol import OrderWord, Told, Windows, files, variables
from .series import Ordered

if TYPE_CHECKING:
    from ..protocol import Window
    from .profiler import Captures

_WARM_UP = 2
_STEPS = 5
"""Of an order by time, in a process whose steps have no pace yet."""
_PATIENCE = 60.0


class Position(NamedTuple):
    """How far the training of this process is."""

    step: int = 0
    executed: int = 0
    """Steps that this process has made."""
    seconds: float = 0.0
    """Of a step; 0: not known."""


class Orders:
    """What a thread of ours looks at twenty times a second.

    Parameters
    ----------
    position
        Says how far the training is.
    """

    def __init__(self, captures: Captures, position: Callable[[], Position]) -> None:
        self._captures, self._position = captures, position
        self._rank_dir = os.environ[variables.RANK_DIR]
        self._pid = os.getpid()
        self._word: Optional[OrderWord] = None
        self._ordered: Optional[Ordered] = None  # that begins at a time, here
        self._has_begun = False
        self._step_limit = 0.0  # until when one that waits for a first step waits
        try:
            self._word = OrderWord(self._rank_dir)
        except (OSError, ValueError):
            pass  # this job wants none

    @property
    def are_taken(self) -> bool:
        """Whether the agent may order anything."""
        return self._word is not None

    @notes.guarded
    def look(self) -> None:
        """Take what is new, and do what it is time for."""
        if self._pid != os.getpid():
            return  # a forked child's thread calls it too, but the captures are the parent's
        if self._word is not None and self._word.has_news():
            self._take(Told.read(self._rank_dir))
        if self._ordered is not None:
            self._work(self._ordered)
        if self._step_limit and time.monotonic() >= self._step_limit:
            self._step_limit = 0.0
            self._captures.withdraw(f"no step was made in {_PATIENCE:g} s, and none is counted")
        self._captures.sample()

    def _take(self, told: Told) -> None:
        if not process.trains(os.path.join(self._rank_dir, files.STEPS)):
            return
        self._step_limit = 0.0
        window = told.window
        if window is None:
            if self._ordered is None or not self._has_begun:
                self._ordered = None
                self._captures.withdraw("it was given up")
            return
        at = self._position()
        if window.at_step:
            self._captures.order(Ordered(told, window, Windows.at(window.at_step, window.steps, _WARM_UP)))
        elif not at.executed and not _is_stepping():
            ordered = Ordered(told, window, Windows())
            ordered.is_timed = True
            self._ordered, self._has_begun = ordered, False
            self._captures.order(ordered)
        else:
            self._by_steps(told, window, at)

    def _by_steps(self, told: Told, window: Window, at: Position) -> None:
        """Begin with the first step after the time: the profiler may be of the thread that steps alone."""
        steps = window.steps or (round(window.seconds / at.seconds) if at.seconds else _STEPS)
        ahead = (window.at_ns - time.time_ns()) / 1e9 / at.seconds if at.seconds else 0.0
        first = at.step + 1 + max(0, round(ahead))
        self._captures.order(Ordered(told, window, Windows.at(first, max(1, steps), _WARM_UP)))
        if not at.executed:
            self._step_limit = time.monotonic() + _PATIENCE

    def _work(self, ordered: Ordered) -> None:
        """Begin and end at the times that were ordered."""
        now, at = time.time_ns(), ordered.window.at_ns
        if not self._has_begun and now >= at:
            self._has_begun = True
            self._captures.drive(0, _framework())
        elif self._has_begun and now >= at + int(ordered.window.seconds * 1e9):
            self._ordered = None
            self._captures.drive(1, _framework())


def _is_stepping() -> bool:
    """Whether steps are to be expected: the program has an optimizer whose steps are seen."""
    return os.path.exists(os.path.join(os.environ[variables.RANK_DIR], files.OPTIMIZER))


def _framework() -> str:
    """Return whose profiler any thread may begin."""
    return next((name for name in ("jax", "tensorflow") if name in sys.modules), "this program")
