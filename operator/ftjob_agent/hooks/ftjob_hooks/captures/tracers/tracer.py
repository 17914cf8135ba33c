"""What a framework's profiler has to do for a capture."""

from __future__ import annotations

from typing import Any, Callable, Mapping

Save = Callable[[str], None]


class Tracer:
    """What a framework does for a capture."""

    def __init__(self, options: Mapping[str, Any], rank_name: str) -> None:
        self.options = options
        self.rank_name = rank_name

    def hindrance(self) -> str:
        """Say why recording can't begin or end at this place in the program; nothing if it can."""
        return ""

    def warm(self) -> None:
        """Get ready, so that the start does not distort the first captured step."""

    def start(self, folder: str) -> None:
        """Begin to record."""
        raise NotImplementedError

    def step(self, number: int) -> None:
        """Mark the beginning of a step (and the end of the one before)."""

    def stop(self) -> Save:
        """End the recording, quickly; return what writes the files, for another thread."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Throw a warm-up away."""


class NoTracer(Tracer):
    """For a capture of stacks alone."""

    def start(self, folder: str) -> None:
        """Do nothing."""

    def step(self, number: int) -> None:
        """Do nothing."""

    def stop(self) -> Save:
        """Write nothing."""
        return lambda _folder: None
