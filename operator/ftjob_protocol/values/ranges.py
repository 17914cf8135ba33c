"""Indexes, ranks and exit codes as people write them: ``0,3-5``."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Iterable

DIGITS = 9
"""Of a number in ranges that somebody else has written."""

_RANGES = re.compile(
    rf"\d{{1,{DIGITS}}}(?:-\d{{1,{DIGITS}}})?(?:,\d{{1,{DIGITS}}}(?:-\d{{1,{DIGITS}}})?)*", re.ASCII
)


@lru_cache(maxsize=64)  # asked for each worker of a job
def parse_ranges(text: str) -> tuple[range, ...]:
    """Read ranges, ``0,3-5``; one whose end comes before its beginning is empty."""
    return _parsed(text)


def parse_indexes(text: str) -> frozenset[int]:
    """Read indexes as status holds them, ``0,3-5``."""
    return frozenset(index for found in parse_ranges(text) for index in found)


def format_indexes(indexes: Iterable[int]) -> str:
    """Write indexes as status holds them, ``0,3-5``."""
    return format_ranges(to_ranges(indexes))


def read_ranges(text: str) -> tuple[range, ...]:
    """Read ranges that somebody else has written as `format_ranges` does: none is empty, none meets another.

    Raises
    ------
    ValueError
        They are not written so.
    """
    if not text:
        return ()
    if not _RANGES.fullmatch(text):
        raise ValueError("not ranges such as 0,3-5")
    found = _parsed(text)  # nothing that a stranger says is kept
    if not all(found) or merge(found) != found:
        raise ValueError("not ranges in rising order")
    return found


def collect_ranges(text: str) -> tuple[range, ...]:
    """Read ranges that people have written, in any order and with spaces, as ranges in rising order.

    Raises
    ------
    ValueError
        They are none, or one ends before it begins.
    """
    compact = "".join(text.split())
    if not compact:
        return ()
    if not _RANGES.fullmatch(compact):
        raise ValueError("not ranges such as 0,3-5")
    found = _parsed(compact)
    if not all(found):
        raise ValueError("a range ends before it begins")
    return merge(found)


def to_ranges(indexes: Iterable[int]) -> tuple[range, ...]:
    """Return indexes as ranges in rising order, none of which meets another."""
    return merge(range(index, index + 1) for index in indexes)


def merge(ranges: Iterable[range]) -> tuple[range, ...]:
    """Return what ranges in any order hold together, as ranges in rising order."""
    runs: list[list[int]] = []
    for found in sorted(ranges, key=lambda found: found.start):
        if runs and found.start <= runs[-1][1]:
            runs[-1][1] = max(runs[-1][1], found.stop)
        else:
            runs.append([found.start, found.stop])
    return tuple(range(start, stop) for start, stop in runs)


def format_ranges(ranges: Iterable[range]) -> str:
    """Write ranges, ``0,3-5``."""
    return ",".join(
        str(found.start) if len(found) == 1 else f"{found.start}-{found.stop - 1}" for found in ranges
    )


def _parsed(text: str) -> tuple[range, ...]:
    pairs = [part.partition("-") for part in text.split(",") if part]
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in pairs)
