"""``clock.bin``: how long each of a rank's last steps took, and of what; a ring that is mapped into memory.

A SIGKILL loses none of it, and to write a step costs no system call. All numbers are little endian. The rank
writes a record and then the head, so a reader that knows both the head before and after it has read the ring
knows which records were whole.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple, Optional, Tuple

from ftjob_protocol.files import nofollow

MAGIC = b"FTJCLK01"
VERSION = 1
HEADER = struct.Struct("<8sIIQQ32x")
"""Magic, version, capacity, head (how many records were ever written), and when the process began to write,
in nanoseconds since 1970."""
HEAD = struct.Struct("<Q")
HEAD_OFFSET = 16
RECORD = struct.Struct("<QIIIIIHH")
CAPACITY = 1024
SIZE = HEADER.size + CAPACITY * RECORD.size

CAPTURE = 1
"""Flag: a profiler was on, or was started or stopped."""
COMPILE = 2
"""Flag: something was traced or compiled."""
BLOCKED_UNKNOWN = 4
INPUT_UNKNOWN = 8
INSIDE = 16
"""Flag: what the rank exchanges with others is a part of what its framework has compiled."""

MOST = (1 << 32) - 1
"""What a time of a step, in microseconds, is at most in the file: 71 minutes."""


class StepRecord(NamedTuple):
    """One step of one rank; if several ended at once, the last one's number and their mean."""

    end_ns: int
    """Since 1970, by the rank's monotonic clock from the time on at which it began to write."""
    step: int
    step_us: int
    input_us: int
    own_us: int
    """What was neither waiting for others, nor the transfer; `input_us` is a part of it."""
    blocked_us: int
    collectives: int
    flags: int

    @property
    def is_sound(self) -> bool:
        """Whether its parts fit into the whole, as they may not in what is torn or a stranger's."""
        return self.input_us <= self.step_us and self.own_us + self.blocked_us <= self.step_us

    @property
    def step_ms(self) -> float:
        """How long it took."""
        return self.step_us / 1e3

    @property
    def input_ms(self) -> Optional[float]:
        """Time in the iterator of the data; None: not seen."""
        return None if self.flags & INPUT_UNKNOWN else self.input_us / 1e3

    @property
    def own_ms(self) -> Optional[float]:
        """Time of the rank's own work; None: not known."""
        return None if self.flags & BLOCKED_UNKNOWN else self.own_us / 1e3

    @property
    def blocked_ms(self) -> Optional[float]:
        """Time in which it waited for others or for the transfer; None: not known."""
        return None if self.flags & BLOCKED_UNKNOWN else self.blocked_us / 1e3


class Clock(NamedTuple):
    """What a look at the file has found."""

    head: int
    """How many records were ever written: what to read after the next time."""
    began_ns: int
    """When the process began to write. Another one: a later process, which counts records anew."""
    records: Tuple[StepRecord, ...]
    """Those after the head that was asked for, as far as the ring still has them."""


def read(path: str, after: int = 0) -> Optional[Clock]:
    """Read the records after the first `after` ones; None when the file is not there, or not whole.

    If the file has fewer, since another process of the rank has begun it anew, all are read.
    """
    try:
        file = nofollow.open_regular(path)
    except OSError:
        return None
    try:
        data = os.pread(file, SIZE, 0)
        # What is being overwritten now, or was while we read, is torn.
        later = os.pread(file, HEADER.size, 0)
    except OSError:
        return None
    finally:
        os.close(file)
    return parse(data, later, after)


def last(path: str, count: int = 64) -> Tuple[StepRecord, ...]:
    """Return the last records, of a dead rank say; none when there is no such file."""
    found = read(path)
    return found.records[-count:] if found is not None and count > 0 else ()


def parse(data: bytes, later: bytes, after: int) -> Optional[Clock]:
    """Return what the bytes of the file say, with those of its header as they were after that."""
    if len(data) < SIZE or len(later) < HEADER.size:
        return None
    magic, version, capacity, head, began_ns = HEADER.unpack_from(data)
    if (magic, version, capacity) != (MAGIC, VERSION, CAPACITY):
        return None
    *_, head_later, began_later = HEADER.unpack_from(later)
    if began_later != began_ns or head_later < head:
        return None  # begun anew just now
    # Of the ring's oldest record the next one takes the place, perhaps at this moment.
    oldest = max(after if after <= head else 0, head_later + 1 - CAPACITY, 0)
    records = []
    for number in range(oldest, head):
        offset = HEADER.size + number % CAPACITY * RECORD.size
        record = StepRecord._make(RECORD.unpack_from(data, offset))
        if record.is_sound:
            records.append(record)
    return Clock(head, began_ns, tuple(records))
