"""Captures that follow one schedule: those of the job's, or the one that was ordered."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Tuple

from .. import json_file, notes
from ..protocol import (
    ACTIVE,
    Profile,
    RankCapture,
    RankPhase,
    Schedule,
    Told,
    Window,
    Windows,
    files,
    variables,
)

if TYPE_CHECKING:
    from .places import Place
    from .stacks import Stacks
    from .tracers.tracer import Tracer


class Series:
    """A schedule, and what is at work for its present capture."""

    def __init__(self, windows: Windows, dirs: Tuple[str, str], tools: Sequence[str], options: Any) -> None:
        self.schedule = Schedule(windows)
        self.dirs = dirs
        self.tools = tools
        self.options: Mapping[str, Any] = options
        self.is_broken = False
        """What failed once is not tried at every step."""
        self.is_timed = False
        """Whether it begins and ends at times, in a process that makes no steps."""
        self.tracer: Optional[Tracer] = None
        self.place: Optional[Place] = None
        self.timeline: Any = None
        self.stacks: Optional[Stacks] = None
        self.start_ns = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing will be captured any more."""
        return self.is_broken or self.schedule.over

    @property
    def is_active(self) -> bool:
        """Whether steps are being recorded."""
        return self.schedule.phase == ACTIVE

    @property
    def wants_framework(self) -> bool:
        """Whether the framework's profiler is wanted."""
        return "Framework" in self.tools

    def capture(self, number: int) -> str:
        """Return the id of a capture, counted from 0."""
        raise NotImplementedError

    def position(self, executed: int, step: int) -> int:
        """Return how many steps are done, as this schedule counts them."""
        raise NotImplementedError

    def say(self, phase: RankPhase, note: str = "", *, first: int = 0, is_whole: bool = True) -> None:
        """Tell the agent how far it is."""


class Scheduled(Series):
    """Those of the job's own schedule, which counts the steps of this process."""

    def __init__(self, profile: Profile) -> None:
        wanted = profile.wanted
        dirs = (profile.capture_dir, profile.plugins_dir)
        super().__init__(Windows.read(wanted.schedule), dirs, wanted.tools, wanted.options)
        self._prefix = profile.prefix

    def capture(self, number: int) -> str:
        """Return the id of a capture, counted from 0."""
        return f"{self._prefix}{number}"

    def position(self, executed: int, step: int) -> int:
        """Return how many steps this process has made."""
        return executed


class Ordered(Series):
    """The one that was ordered, which counts as `steps.bin` does: all ranks begin at the same step."""

    def __init__(self, told: Told, window: Window, windows: Windows) -> None:
        wanted = told.wanted
        tools = [*wanted.tools, *(["Stacks"] if window.stacks else [])]
        super().__init__(windows, (told.capture_dir, told.plugins_dir), tools, wanted.options)
        self.window = window

    def capture(self, number: int) -> str:
        """Return its id."""
        return self.window.id

    def position(self, executed: int, step: int) -> int:
        """Return the training's step."""
        return step

    @notes.guarded
    def say(self, phase: RankPhase, note: str = "", *, first: int = 0, is_whole: bool = True) -> None:
        """Tell the agent how far it is; a rank that begins late says so."""
        at = self.window.at_step
        if first and at and first != at and not note:
            note = f"begun at step {first} instead of {at}"
        say(RankCapture(self.window.id, phase, first, note, is_whole))


def say(word: RankCapture) -> None:
    """Tell the agent how far this rank is."""
    path = os.path.join(os.environ[variables.RANK_DIR], files.CAPTURING)
    json_file.write(path, {**word.as_json(), "timeNs": time.time_ns()})
