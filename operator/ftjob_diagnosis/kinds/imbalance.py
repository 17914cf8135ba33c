"""Ranks wait for each other, but each step for another one."""

from __future__ import annotations

from collections import Counter
from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.kinds import straggler
from ftjob_diagnosis.table import Table
from ftjob_diagnosis.view import Measure, View

KIND = Kind.IMBALANCE
SHARE = 0.2


def measure(view: View) -> Optional[Measure]:
    """Find that the slowest rank of each step is slow, though none is it always."""
    if view.table.late is None or not view.table.measured(view.table.own):
        return None
    by_one = straggler.measure(view)
    if by_one is not None and by_one.strength >= 1:
        return Measure((), 0.0)
    return Measure((), strength(view, ()))


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the mean of what the slowest rank of each step is late, against the threshold."""
    return share(view.table) / SHARE


def share(table: Table) -> float:
    """Return which share of the step it is."""
    late_by = [max(row) for row in zip(*(table.late or {}).values())]
    return sum(late_by) / len(late_by) / table.typical_ms if late_by else 0.0


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say how often the slowest rank changes."""
    table = view.table
    columns = list((table.late or {}).values())
    slowest = Counter(max(range(len(row)), key=row.__getitem__) for row in zip(*columns))
    cost = share(table)
    changing = f"each step another ({len(slowest)} of {len(columns)})"
    said = f"{words.percent(cost)} of step time waits for the slowest rank, {changing}"
    return Finding(
        KIND,
        ranks,
        None,
        None,
        cost,
        confidence,
        None,
        (Evidence(f"{len(slowest)} ranks were the slowest of a step", "ranks"),),
        "give all ranks batches of like size: bucket by length, pack; look for garbage collection",
        words.verdict("imbalance", said, None),
    )
