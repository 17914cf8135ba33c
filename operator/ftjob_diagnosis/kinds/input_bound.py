"""All ranks wait for their data."""

from __future__ import annotations

from statistics import median
from typing import Optional

from ftjob_diagnosis import where, words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.table import Table
from ftjob_diagnosis.view import Measure, View

KIND = Kind.INPUT_BOUND
SHARE, HIGH = 0.1, 2.0


def measure(view: View) -> Optional[Measure]:
    """Find how much of the step the median rank waits for data."""
    return Measure((), strength(view, ()), high=HIGH) if share(view.table) is not None else None


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the share against its threshold."""
    return (share(view.table) or 0.0) / SHARE


def share(table: Table) -> Optional[float]:
    """Return which share of the step the median rank waits for data; None if that was not measured."""
    if not table.measured(table.input):
        return None
    usual = [median(column) for column in table.input if column is not None]
    return lower_median(usual) / table.typical_ms


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Name the line that loads."""
    table = view.table
    cost = share(table) or 0.0
    line = where.top([lines for lines in table.where if lines], "input") if any(table.where) else None
    alike = ", all ranks alike" if len(table.ranks) > 1 else ""
    return Finding(
        KIND,
        ranks,
        None,
        None,
        cost,
        confidence,
        line,
        (Evidence(f"input {cost * table.typical_ms:.1f} ms of {table.typical_ms:.1f}", "ranks/0/inputMs"),),
        "load ahead: more num_workers, prefetch, cache, or smaller or already decoded files",
        words.verdict("input-bound", f"{words.percent(cost)} of step time waits for data", line, alike),
    )
