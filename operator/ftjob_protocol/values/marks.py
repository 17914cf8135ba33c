"""The mark that says whose a line in a pod of several ranks is: ``[rank 3] ``."""

from __future__ import annotations

import re
from typing import Iterator, Optional, Tuple

LINE_BYTES = 16 * 1000
"""A container runtime cuts lines of 16 KiB: what comes behind the cut would have no mark."""

_MARK = re.compile(rb"\[rank (0|[1-9]\d{0,8})\] ")
_MARKS = re.compile(r"^\[rank (?:0|[1-9]\d{0,8})\] ", re.ASCII | re.MULTILINE)


def mark_of(rank: int) -> bytes:
    """Return what the lines of a rank begin with."""
    return b"[rank %d] " % rank


def read_mark(line: bytes) -> Tuple[Optional[int], bytes]:
    """Return whose a line is, and what it says; None if it has no mark."""
    found = _MARK.match(line)
    return (None, line) if found is None else (int(found[1]), line[found.end() :])


def without_marks(text: str) -> str:
    """Return lines as the ranks have written them."""
    return _MARKS.sub("", text)


def marked(lines: bytes, mark: bytes) -> bytes:
    """Return whole lines with their mark; what a progress bar wrote over is left out.

    A last line without its end gets one, so that what somebody else says next has a line of its own.
    """
    lines = lines[:-1] if lines.endswith(b"\n") else lines
    room = LINE_BYTES - len(mark)
    if b"\r" in lines or (len(lines) > room and max(map(len, lines.split(b"\n"))) > room):
        lines = b"\n".join(part for line in lines.split(b"\n") for part in _parts(line, room))
    return mark + lines.replace(b"\n", b"\n" + mark) + b"\n"


def _parts(line: bytes, room: int) -> Iterator[bytes]:
    """Yield a line as it stands in the end, in parts of bounded length."""
    line = line.rstrip(b"\r").rpartition(b"\r")[2]
    while len(line) > room:
        end = next((end for end in range(room, room - 4, -1) if line[end] & 0xC0 != 0x80), room)
        yield line[:end]  # between two characters, if it is UTF-8
        line = line[end:]
    yield line
