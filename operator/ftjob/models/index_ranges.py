"""Indexes, ranks and exit codes as people write them: ``0,3-5``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=64)  # asked for each worker of a job
def parse_ranges(text: str) -> tuple[range, ...]:
    """Read ranges, ``0,3-5``; one whose end comes before its beginning is empty."""
    pairs = [part.partition("-") for part in text.split(",") if part]
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in pairs)


def parse_indexes(text: str) -> frozenset[int]:
    """Read indexes as status holds them, ``0,3-5``."""
    return frozenset(index for found in parse_ranges(text) for index in found)


def format_indexes(indexes: Iterable[int]) -> str:
    """Write indexes as status holds them, ``0,3-5``."""
    runs: list[list[int]] = []
    for index in sorted(set(indexes)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
