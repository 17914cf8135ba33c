"""All ranks wait for cores, or are held back by their own limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.table import MOST, Table
from ftjob_diagnosis.view import Measure, View
from ftjob_diagnosis.where import typical

KIND = Kind.HOST_CONTENTION
DELAYED, THROTTLED = 0.15, 0.1


def measure(view: View) -> Optional[Measure]:
    """Find how long the median rank waits for a core."""
    return Measure((), strength(view, ())) if shares(view.table) is not None else None


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the larger of both shares against their thresholds."""
    delayed, throttled = shares(view.table) or (0.0, 0.0)
    return max(delayed / DELAYED, throttled / THROTTLED)


def shares(table: Table) -> Optional[tuple[float, float]]:
    """Return which share of the step the median rank waits, and is throttled; None if it was not measured."""
    if not has(table.run_delay):
        return None
    delay, throttled = typical(table.run_delay), typical(table.throttled) if has(table.throttled) else 0.0
    return (delay or 0.0) / table.typical_ms, (throttled or 0.0) / table.typical_ms


def has(values: Sequence[Optional[float]]) -> bool:
    """Whether nearly all ranks have it."""
    return sum(value is not None for value in values) >= MOST * len(values) > 0


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say which of the two it is."""
    delayed, throttled = shares(view.table) or (0.0, 0.0)
    by_others = max(0.0, delayed - throttled)  # who is throttled waits for a core, too
    if throttled / THROTTLED >= by_others / DELAYED:
        cost = throttled
        said = f"the pods' own CPU limit holds them back for {words.percent(cost)} of step time"
        remedy, ref = "raise resources.limits.cpu, or lower OMP_NUM_THREADS", "ranks/0/throttledMs"
    else:
        cost = delayed
        said = f"{words.percent(cost)} of step time waits for a core of the host"
        remedy, ref = (
            "give the ranks cores of their own: CPU requests, fewer threads",
            "ranks/0/runDelayMs",
        )
    return Finding(
        KIND,
        ranks,
        None,
        None,
        min(1.0, cost),
        confidence,
        None,
        (Evidence(f"{cost * view.table.typical_ms:.1f} ms of {view.table.typical_ms:.1f}", ref),),
        remedy,
        words.verdict(
            "host contention", said, None, ", all ranks alike" if len(view.table.ranks) > 1 else ""
        ),
    )
