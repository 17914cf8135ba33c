"""``steps.bin``: how far a rank's training is, in 64 bytes that are mapped into memory.

A SIGKILL loses nothing of it, and to write a step costs no system call. All numbers are little endian.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple, Optional

from ftjob_protocol.files import nofollow

LAYOUT = struct.Struct("<8sQQQQdQQ")
MAGIC = b"FTJSTEP1"
STEP, TOTAL, LAST_NS, FIRST_NS, EPOCH, FLAGS, SEEN_NS = range(1, 8)
"""Places, in words of eight bytes. All are written by the process that trains, but for the last one."""
EXACT = 1
"""Flag: the count is that of the optimizer's own counter."""

BLANK = LAYOUT.pack(MAGIC, 0, 0, 0, 0, math.nan, 0, 0)


class Steps(NamedTuple):
    """What the file says."""

    step: int
    total: Optional[int]
    """None: not known."""
    last_ns: int
    """When the last step was done, in nanoseconds since 1970."""
    first_ns: int
    epoch: Optional[float]
    """Epochs done; None: not known."""
    is_exact: bool
    seen_ns: int = 0
    """When any optimizer stepped in any process of the rank, counted or not; 0: never."""


def read(path: str) -> Optional[Steps]:
    """Read the file; None when it is not there, or not whole."""
    try:
        data = nofollow.read(path, LAYOUT.size)
    except OSError:
        return None
    if len(data) < LAYOUT.size:
        return None
    magic, step, total, last_ns, first_ns, epoch, flags, seen_ns = LAYOUT.unpack(data)
    if magic != MAGIC:
        return None
    known = epoch if math.isfinite(epoch) else None
    return Steps(step, total or None, last_ns, first_ns, known, bool(flags & EXACT), seen_ns)
