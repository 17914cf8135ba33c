"""Signs of life of the watches: an operator that hears nothing any more looks healthy otherwise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SILENT_SECONDS = 180.0
"""Three bookmarks are missing then."""


class Signs:
    """When each watch last brought an event or a bookmark.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def seen(self, watch: str) -> None:
        """Note an event or a bookmark; the first call begins the watch."""
        self._last[watch] = self._clock()

    def forget(self, watch: str) -> None:
        """Note that a watch has ended on purpose."""
        self._last.pop(watch, None)

    def silent(self) -> str:
        """Return which watch has been silent for too long, and for how long; nothing if none has."""
        watch = min(self._last, key=self._last.__getitem__, default=None)
        if watch is None or (seconds := self._clock() - self._last[watch]) <= SILENT_SECONDS:
            return ""
        return f"the watch of {watch} has brought nothing for {seconds:.0f} s"
