"""Also the rank that arrives last waits: for the transfer."""

from __future__ import annotations

from statistics import median
from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.table import Table
from ftjob_diagnosis.view import Measure, View

KIND = Kind.COMMUNICATION_BOUND
SHARE = 0.2


def measure(view: View) -> Optional[Measure]:
    """Find how much of the step goes into transfers."""
    return Measure((), strength(view, ())) if share(view.table) is not None else None


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the share against its threshold."""
    return (share(view.table) or 0.0) / SHARE


def share(table: Table) -> Optional[float]:
    """Return which share of the step the rank that waits least is blocked; None if that was not measured."""
    if len(table.ranks) < 2 or not table.is_synchronous or not table.measured(table.blocked):
        return None
    columns = [column for column in table.blocked if column is not None]
    least: list[float] = [min(row) for row in zip(*columns)]
    return median(least) / table.typical_ms


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say how many collectives it is."""
    table = view.table
    cost = share(table) or 0.0
    count, took = round(table.collectives), cost * table.typical_ms
    said = (
        f"{words.percent(cost)} of step time, {words.ms(took)} "
        f"in {count} collective{'' if count == 1 else 's'} a step"
    )
    return Finding(
        KIND,
        ranks,
        None,
        None,
        cost,
        confidence,
        None,
        (Evidence(f"the last to arrive is blocked {took:.1f} ms", "collectives/0/transferMs"),),
        "exchange less and less often: larger batches, accumulation, fewer and larger buckets; "
        "look at the network between the nodes",
        words.verdict("communication-bound", said, None),
    )
