"""The operator's clock: Unix time that nobody can set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def boot_time() -> float:
    """Return seconds since the machine's start, those included that it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def steady_clock(
    *, wall: Callable[[], float] = time.time, steady: Callable[[], float] = boot_time
) -> Callable[[], float]:
    """Return a clock that shows Unix time now, and goes on by one that only goes forward.

    A machine's clock may be set while we run. If it jumped forward, lost ranks would count as fenced while
    they still run, and deadlines would be over too early; if it jumped back, nothing would ever be due. What
    was wrong with the time at the operator's start stays wrong until its next start.
    """
    offset = wall() - steady()
    return lambda: offset + steady()
