"""Which process of a rank this is: the one that trains, the rank's first one, or a helper of these.

A rank can have more Python processes: a launcher, data loading workers, forked children. The one that trains
holds a POSIX lock on `steps.bin` for as long as it lives.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Any, List, Tuple

from . import failure

_trains = False
_kept: List[Any] = []  # never closed: closing any descriptor of the file would give the lock back


def claim(path: str, size: int) -> Tuple[mmap.mmap, bool]:
    """Map the file of the process that trains, and say whether this process has become it."""
    global _trains
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    _kept.append(file)
    os.ftruncate(file, size)
    os.posix_fallocate(file, 0, size)  # where there is no room an error here, not SIGBUS at the first step
    mapped = mmap.mmap(file, size)
    _kept.append(mapped)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return mapped, False
    _trains = True
    return mapped, True


def speaks() -> bool:
    """Whether this process may write what concerns the whole rank."""
    return _trains or os.environ.get(failure.MAIN_PID) == str(os.getpid())


def trains(steps: str) -> bool:
    """Whether this process trains, or may: it is the rank's first one, and none has claimed `steps`."""
    return _trains or (speaks() and not os.path.exists(steps))


def _forget() -> None:
    # In a forked child: the lock is the parent's.
    global _trains
    _trains = False


os.register_at_fork(after_in_child=_forget)
