"""A straggler where no one could see the ranks wait (graphs of TensorFlow, JAX): by the CPU time they use."""

from __future__ import annotations

from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Cause, Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.kinds import straggler
from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.table import Table
from ftjob_diagnosis.view import Measure, View

KIND = Kind.STRAGGLER
EXCESS, FACTOR = 0.15, 1.3
"""Of the step; of the lower median."""


def measure(view: View) -> Optional[Measure]:
    """Find the ranks that use much more CPU time than the others, though all take equally long."""
    used = cpu(view.table)
    if used is None:
        return None
    norm = lower_median(list(used.values()))
    most = max(used.values())
    first = sorted(
        (rank for rank in used if used[rank] - norm > (most - norm) / 2), key=lambda rank: -used[rank]
    )
    suspects = tuple(sorted(first[: len(used) // 2] or [max(used, key=lambda rank: used[rank])]))
    return Measure(suspects, strength(view, suspects), best=Confidence.MEDIUM)


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the lesser of excess and factor against their thresholds."""
    used = cpu(view.table) or {}
    if not set(ranks) < set(used):
        return 0.0
    norm, least = lower_median(list(used.values())), min(used[rank] for rank in ranks)
    factor = (least / norm - 1) / (FACTOR - 1) if norm > 0 else 0.0
    return min((least - norm) / view.table.typical_ms / EXCESS, factor)


def cpu(table: Table) -> Optional[dict[int, float]]:
    """Return the CPU time of a step; None where work was seen, or where it was not measured.

    Best of the graph alone: what reads ahead or exchanges beside it holds up nobody.
    """
    if not table.is_synchronous or table.measured(table.own):
        return None
    for signal in (table.graph, table.cpu):
        used = {rank: value for rank, value in zip(table.ranks, signal) if value is not None}
        if len(used) == len(table.ranks):
            return used
    return None


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say what it is: a rank that uses more CPU time."""
    table = view.table
    used = cpu(table) or {}
    most = max(used[rank] for rank in ranks)
    norm = lower_median([value for rank, value in used.items() if rank not in ranks])
    name = "cpuMs" if None in table.graph else "graphMs"
    line = straggler.line_of(table, ranks, most - norm)
    place = words.of_ranks(ranks) + straggler.named_node(table, ranks)
    use, times = "uses" if len(ranks) == 1 else "use", most / max(norm, 0.1)
    said = f"{place} {use} {times:.1f} times the CPU time of the others"
    return Finding(
        KIND,
        ranks,
        straggler.node_of(table, ranks),
        Cause.COMPUTE,
        min(0.9, (most - norm) / table.typical_ms),
        confidence,
        line,
        (Evidence(f"CPU {most:.0f} ms a step, others {norm:.0f}", f"ranks/{ranks[0]}/{name}"),),
        "a capture confirms it: here ranks can't be seen waiting for each other",
        words.verdict("straggler", f"{said}, {words.ms(most)} a step", line),
    )
