"""What is different between two summaries."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ftjob.insight.summary import Rank, Summary

    Pairs = Callable[[Rank], Iterable[tuple[str, float]]]

SMALLEST_MS, SMALLEST_SHARE = 0.5, 0.03
ROWS = 12
_PARTS = (
    ("step", "step_ms"),
    ("input", "input_ms"),
    ("own work", "own_ms"),
    ("blocked", "blocked_ms"),
    ("CPU", "cpu_ms"),
    ("run delay", "run_delay_ms"),
    ("throttled", "throttled_ms"),
)


@dataclass(frozen=True)
class Change:
    """One number that is another one now; in milliseconds a step, shares in percent."""

    group: str
    name: str
    before: float | None
    after: float | None
    unit: str = "ms"

    @property
    def by(self) -> float:
        """How much more it is now."""
        return (self.after or 0.0) - (self.before or 0.0)

    @property
    def matters(self) -> bool:
        """Whether it is more than noise."""
        least = SMALLEST_MS if self.unit == "ms" else SMALLEST_SHARE * 100
        return abs(self.by) >= max(least, SMALLEST_SHARE * max(self.before or 0.0, self.after or 0.0))


@dataclass(frozen=True)
class Difference:
    """All that has changed; the parts of a step are there whether or not they have."""

    parts: tuple[Change, ...]
    ranks: tuple[Change, ...]
    operators: tuple[Change, ...]
    lines: tuple[Change, ...]
    notes: tuple[str, ...]


def compare(before: Summary, after: Summary) -> Difference:
    """Compare two summaries."""
    return Difference(
        parts=tuple(
            Change("part", name, _typical(before, field), _typical(after, field))
            for name, field in _PARTS
            if _typical(before, field) is not None and _typical(after, field) is not None
        ),
        ranks=_changed("rank", _own(before), _own(after)),
        operators=_changed("operator", _operators(before), _operators(after)),
        lines=_changed("line", _lines(before), _lines(after), "%"),
        notes=tuple(_notes(before, after)),
    )


def _typical(summary: Summary, field: str) -> float | None:
    values = [value for rank in summary.ranks if (value := getattr(rank, field)) is not None]
    return median(values) if values else None


def _own(summary: Summary) -> dict[str, float]:
    return {f"rank {rank.rank}": rank.own_ms for rank in summary.ranks if rank.own_ms is not None}


def _operators(summary: Summary) -> dict[str, float]:
    """Return the self time a step of each operator, on a typical rank that has it."""
    steps = summary.capture.steps if summary.capture is not None else []
    count = steps[1] - steps[0] + 1 if len(steps) == 2 and steps[1] >= steps[0] else 1
    return _medians(summary.ranks, lambda rank: ((op.name, op.self_ms / count) for op in rank.operators))


def _lines(summary: Summary) -> dict[str, float]:
    return _medians(summary.ranks, lambda rank: ((line, share * 100) for line, _, share in rank.where))


def _medians(ranks: Iterable[Rank], pairs: Pairs) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for rank in ranks:
        for name, value in pairs(rank):
            found.setdefault(name, []).append(value)
    return {name: median(values) for name, values in found.items()}


def _changed(
    group: str, before: dict[str, float], after: dict[str, float], unit: str = "ms"
) -> tuple[Change, ...]:
    if not before or not after:
        return ()
    changes = [
        Change(group, name, before.get(name), after.get(name), unit)
        for name in dict.fromkeys([*before, *after])
    ]
    return tuple(sorted((c for c in changes if c.matters), key=lambda c: -abs(c.by))[:ROWS])


def _notes(before: Summary, after: Summary) -> Iterable[str]:
    if len(before.ranks) != len(after.ranks):
        yield f"there were {len(before.ranks)} ranks, and are {len(after.ranks)}"
    if before.job.framework != after.job.framework:
        was, is_now = (summary.job.framework or "unknown" for summary in (before, after))
        yield f"the framework was {was}, and is {is_now}"
    if (before.capture is None) != (after.capture is None):
        yield "one is of a capture, which costs time by itself, and the other is not"
