"""Statistics that a few wild values don't move."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def lower_median(values: Sequence[float]) -> float:
    """Return the middle value, of two the lower: among two ranks the faster one is the norm."""
    return sorted(values)[(len(values) - 1) // 2]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median slope between any two points (Theil and Sen); they must be few: it is quadratic."""
    pairs = [
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(len(times))
        for j in range(i + 1, len(times))
        if times[j] > times[i]
    ]
    return median(pairs) if pairs else 0.0


def rising(values: Sequence[float]) -> float:
    """Return Kendall's tau of values against their order: 1, always rising; 0, no trend."""
    count = len(values)
    signs = [
        (values[j] > values[i]) - (values[j] < values[i]) for i in range(count) for j in range(i + 1, count)
    ]
    return sum(signs) / len(signs) if signs else 0.0
