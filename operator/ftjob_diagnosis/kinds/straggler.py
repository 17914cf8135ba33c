"""Some ranks (or a node) work longer than the others, which wait for them in each step."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Optional

from ftjob_diagnosis import where, words
from ftjob_diagnosis.findings import Cause, Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.table import Table
from ftjob_diagnosis.view import Measure, View

KIND = Kind.STRAGGLER
COST, EXCESS, LEAST_MS, PERSISTENCE = 0.05, 0.05, 1.0, 0.6
"""Shares of the step; the least excess; the share of steps in which a rank must be late."""
LATE, LATE_MS = 0.03, 0.5
"""A rank is late in a step from this on."""
ALIKE = 0.5
"""Who has less than this part of the largest excess is not what the others wait for."""
COVERED, CLEARLY = 0.6, 1.5
"""So much of the excess must a cause explain, and so many times what the next one does."""

NEXT = {
    Cause.INPUT: "raise num_workers or prefetch for this rank's data; look at its shard and its storage",
    Cause.COMPUTE: "look at what this rank computes more than the others: its share of the data, its branch",
    Cause.HOST: "look at what else runs on its node; raise resources.limits.cpu if its limit holds it back",
    Cause.UNKNOWN: "look at this line, and at what the rank waits for there",
}


def measure(view: View) -> Optional[Measure]:
    """Find the ranks that the others wait for."""
    table = view.table
    if table.late is None:
        return None
    limit = threshold(table)
    kept = [
        rank for rank, by in table.excess.items() if by >= limit and persistence(table, rank) >= PERSISTENCE
    ]
    kept.sort(key=lambda rank: -table.excess[rank])
    kept = [rank for rank in kept if table.excess[rank] >= ALIKE * table.excess[kept[0]]]
    latest = max(table.excess, key=lambda rank: table.excess[rank])
    suspects = tuple(sorted(kept[: len(table.excess) // 2] or [latest]))
    held = min(persistence(table, rank) for rank in suspects)
    return Measure(suspects, strength(view, suspects), held)


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the least of cost, excess and persistence, each against its threshold."""
    table = view.table
    if not set(ranks) < set(table.excess):
        return 0.0
    excess = min(table.excess[rank] for rank in ranks) / threshold(table)
    held = min(persistence(table, rank) for rank in ranks) / PERSISTENCE
    least = min(excess, cost(table, ranks) / COST)
    return least if held >= 1 else min(least, held)


def threshold(table: Table) -> float:
    """Return the excess in ms from which a rank is a straggler."""
    return max(LEAST_MS, EXCESS * table.typical_ms)


def persistence(table: Table, rank: int) -> float:
    """Return the share of steps in which a rank is late."""
    limit = max(LATE_MS, LATE * table.typical_ms)
    late_by = (table.late or {})[rank]
    return sum(by > limit for by in late_by) / len(late_by)


def cost(table: Table, ranks: tuple[int, ...]) -> float:
    """Return which share of the time would be saved if these ranks were as fast as the slowest other one."""
    work = table.work or {}
    slow = [column for rank, column in work.items() if rank in ranks]
    rest = [column for rank, column in work.items() if rank not in ranks]
    lost: float = sum([max(0.0, max(a) - max(b)) for a, b in zip(zip(*slow), zip(*rest))])
    return lost / table.wall_ms


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Name the ranks, the cause and the line."""
    table = view.table
    columns = table.work or {}
    excess = max(table.excess[rank] for rank in ranks)
    cause, more = explain(table, ranks, excess)
    line = line_of(table, ranks, excess)
    node = node_of(table, ranks)
    share = cost(table, ranks)
    place = words.of_ranks(ranks)
    costs = "cost" if len(ranks) > 1 and not node else "costs"
    place = f"node {node} ({place})" if node else place + named_node(table, ranks)
    slow = max(median(columns[rank]) for rank in ranks)
    usual = lower_median([median(column) for rank, column in columns.items() if rank not in ranks])
    name = "own" if table.measured(table.own) else "input"
    return Finding(
        KIND,
        ranks,
        node,
        cause,
        share,
        confidence,
        None if cause is Cause.HOST else line,
        (Evidence(f"{name} {slow:.1f} ms, others {usual:.1f}", f"ranks/{ranks[0]}/{name}Ms"), *more),
        NEXT[cause],
        words.verdict(
            "straggler",
            f"{place} {costs} {words.percent(share)} of each step; " + told(cause, excess, table, ranks),
            None if cause is Cause.HOST else line,
        ),
    )


def told(cause: Cause, excess: float, table: Table, ranks: tuple[int, ...]) -> str:
    """Say what takes longer."""
    they = "it" if len(ranks) == 1 else "each"
    longer = words.ms(excess)
    if cause is Cause.INPUT:
        return f"{'its' if len(ranks) == 1 else 'their'} input takes {longer} longer"
    if cause is Cause.COMPUTE:
        return f"{they} computes {longer} longer"
    if cause is Cause.HOST:
        throttled = added(table, table.throttled, ranks) or 0.0
        delay = added(table, table.run_delay, ranks) or 0.0
        if 2 * throttled > delay:
            return f"{they} is held back {words.ms(throttled)} by its own CPU limit"
        return f"{they} waits {words.ms(delay)} longer for a core of its host"
    return f"{they} takes {longer} longer"


def added(table: Table, values: Sequence[Optional[float]], ranks: tuple[int, ...]) -> Optional[float]:
    """Return how much more of a signal these ranks have than the others."""
    slow = where.typical([value for rank, value in zip(table.ranks, values) if rank in ranks])
    rest = where.typical([value for rank, value in zip(table.ranks, values) if rank not in ranks])
    return None if slow is None or rest is None else slow - rest


def explain(table: Table, ranks: tuple[int, ...], excess: float) -> tuple[Cause, tuple[Evidence, ...]]:
    """Return the cause that covers the excess, and the numbers.

    A slow input may be CPU work, too: where the rank is late says more than what it does there. But an input
    that is slow since its host lends it no core is the host's.
    """
    usual = [None if column is None else median(column) for column in table.input]
    signals = [
        ("input", "inputMs", added(table, usual, ranks)),
        ("CPU", "cpuMs", added(table, table.cpu, ranks)),
        ("waiting for a core", "runDelayMs", added(table, table.run_delay, ranks)),
        ("throttled", "throttledMs", added(table, table.throttled, ranks)),
    ]
    evidence = tuple(
        Evidence(f"{name} {more:+.1f} ms", f"ranks/{ranks[0]}/{field}")
        for name, field, more in signals
        if more is not None
    )
    loading, computing, delayed, throttled = (max(0.0, more or 0.0) / excess for _, _, more in signals)
    host = max(delayed, throttled)  # who is held back by its limit waits for a core
    if host >= COVERED and host >= CLEARLY * computing:
        return Cause.HOST, evidence
    if loading >= COVERED:
        return Cause.INPUT, evidence
    if computing >= COVERED and computing >= CLEARLY * max(host, loading):
        return Cause.COMPUTE, evidence
    return Cause.UNKNOWN, evidence


def line_of(table: Table, ranks: tuple[int, ...], excess: float) -> Optional[str]:
    """Return the line in which these ranks are and the others are not."""
    slow = [lines for rank, lines in zip(table.ranks, table.where) if rank in ranks and lines]
    rest = [lines for rank, lines in zip(table.ranks, table.where) if rank not in ranks and lines]
    return where.differing(slow, rest, 0.3 * excess / table.typical_ms) if slow and rest else None


def node_of(table: Table, ranks: tuple[int, ...]) -> Optional[str]:
    """Return the node that has these ranks and no others, if it is one of several and has several ranks."""
    nodes = {node for rank, node in zip(table.ranks, table.nodes) if rank in ranks}
    if len(nodes) != 1 or len(ranks) < 2:
        return None
    node = nodes.pop()
    return node if table.nodes.count(node) == len(ranks) else None


def named_node(table: Table, ranks: tuple[int, ...]) -> str:
    """Say which node a single rank runs on, where there are several."""
    if len(ranks) != 1 or len(set(table.nodes)) == 1:
        return ""
    return f" (node {words.cut(table.nodes[table.ranks.index(ranks[0])], 40)})"
