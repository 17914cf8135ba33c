"""Sets of times: sorted intervals that do not touch."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Intervals = tuple[tuple[float, float], ...]


def union(pairs: Iterable[tuple[float, float]]) -> Intervals:
    """Return when at least one of them was there."""
    found: list[tuple[float, float]] = []
    first, last = 0.0, float("-inf")
    for start, end in sorted(pairs):
        if start <= last:
            last = max(last, end)
            continue
        if last > first:
            found.append((first, last))
        first, last = start, end
    if last > first:
        found.append((first, last))
    return tuple(found)


def minus(these: Intervals, those: Intervals) -> Intervals:
    """Return when these were there and those were not."""
    found, j = [], 0
    for start, end in these:
        at = start
        while j < len(those) and those[j][1] <= at:
            j += 1
        k = j
        while k < len(those) and those[k][0] < end:
            if those[k][0] > at:
                found.append((at, those[k][0]))
            at = max(at, those[k][1])
            k += 1
        if at < end:
            found.append((at, end))
    return tuple(found)


def length(these: Intervals, start: float, end: float) -> float:
    """Return how long they were there between two times."""
    total = 0.0
    for i in range(max(0, bisect_right(these, (start, float("inf"))) - 1), len(these)):
        first, last = these[i]
        if first >= end:
            break
        total += max(0.0, min(last, end) - max(first, start))
    return total
