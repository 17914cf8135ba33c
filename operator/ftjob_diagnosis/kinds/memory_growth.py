"""Memory grows, and will reach the limit before the job is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.robust import rising, slope
from ftjob_diagnosis.view import Measure, View
from ftjob_diagnosis.window import Block

KIND = Kind.MEMORY_GROWTH
BLOCKS, TAU = 10, 0.8
DAY_S = 86_400.0
LEAST = 0.02
"""Of the limit must have been gained: what a start still loads extrapolates to anything."""
STEADY = 0.5
"""Of the whole slope must the later half have: a cache that fills up slows down."""
POINTS, RANKS = 40, 32
"""At most so many blocks and ranks are looked at: the fastest growing."""


@dataclass(frozen=True)
class Growth:
    """One rank's memory on its way to the limit."""

    rank: int
    what: str
    now: int
    limit: int
    per_s: float
    gained: int

    @property
    def left_s(self) -> float:
        """Seconds until the limit is reached."""
        return max(0.0, self.limit - self.now) / self.per_s


def measure(view: View) -> Optional[Measure]:
    """Find the ranks whose memory will not last."""
    if view.window.memory_limit_bytes is None and view.window.gpu_limit_bytes is None:
        return None
    found = growing(view)
    if not found:
        return Measure((), 0.0)
    return Measure(tuple(sorted({each.rank for each in found})), 1.5, best=Confidence.HIGH)


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return 1.5 if one of these ranks will reach the limit, or has been called so too recently; else 0."""
    return 1.5 if {each.rank for each in growing(view)} & set(ranks) else 0.0


def growing(view: View) -> list[Growth]:
    """Return the ranks that reach a limit too soon, the first to reach it first."""
    window = view.window
    limits = (
        ("memory", "rss_bytes", window.memory_limit_bytes),
        ("GPU memory", "gpu_bytes", window.gpu_limit_bytes),
    )
    found: list[Growth] = []
    for what, name, limit in limits:
        if limit and len(view.blocks) >= BLOCKS:
            found += grown(what, limit, points(view.blocks, name, LEAST * limit))
    within = DAY_S if window.eta_s is None else window.eta_s
    return sorted((each for each in found if each.left_s < within), key=lambda each: each.left_s)


def points(blocks: Sequence[Block], name: str, least: float) -> dict[int, list[tuple[float, int]]]:
    """Return times and sizes of the ranks that have gained most, if it is enough."""
    first, last = (
        {row.rank: getattr(row, name) for row in block.ranks if getattr(row, name) is not None}
        for block in (blocks[0], blocks[-1])
    )
    gained = {
        rank: size - first[rank] for rank, size in last.items() if size - first.get(rank, size) >= least
    }
    most = set(sorted(gained, key=lambda rank: -gained[rank])[:RANKS])
    found: dict[int, list[tuple[float, int]]] = {rank: [] for rank in most}
    for row in (row for block in blocks if most for row in block.ranks if row.rank in most):
        if getattr(row, name) is not None:
            found[row.rank].append((row.end_s, getattr(row, name)))
    return found


def grown(what: str, limit: int, ranks: dict[int, list[tuple[float, int]]]) -> list[Growth]:
    """Return the ranks whose memory grows steadily."""
    found = []
    for rank, each in sorted(ranks.items()):
        some = each[:: 1 + len(each) // POINTS]
        times, values = [at for at, _ in some], [float(size) for _, size in some]
        middle = len(some) // 2
        whole, later = slope(times, values), slope(times[middle:], values[middle:])
        if len(each) >= BLOCKS and whole > 0 and later >= STEADY * whole and rising(values) >= TAU:
            found.append(Growth(rank, what, each[-1][1], limit, min(whole, later), each[-1][1] - each[0][1]))
    return found


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say when the limit is reached, and how long the job still needs."""
    found = growing(view)
    first, eta = found[0], view.window.eta_s
    needs = "" if eta is None else f", the job needs {words.seconds(eta)}"
    owner, limit = words.of_ranks(ranks), words.size(first.limit)
    said = (
        f"{first.what} of {owner} reaches the limit ({limit}) in {words.seconds(first.left_s)}"
        f"{needs}; it grows by {words.size(first.per_s * 60)} a minute"
    )
    lost = 0.1 if eta is None else max(0.1, 1 - first.left_s / eta)
    return Finding(
        KIND,
        ranks,
        None,
        None,
        min(1.0, lost),
        confidence,
        None,
        (Evidence(f"{words.size(first.now)}, {words.size(first.gained)} more than at first", "curves/rss"),),
        "look for what is kept from step to step: lists of losses with their graphs, caches, loggers",
        words.verdict("memory growth", said, None),
    )
