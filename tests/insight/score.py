"""Compares verdicts with the truth that the programs wrote down."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import sqrt
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from insight.planted import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

THRESHOLD = {
    "Straggler": 0.05,
    "InputBound": 0.1,
    "CommunicationBound": 0.2,
    "Imbalance": 0.2,
    "Pauses": 0.1,
    "Regression": 0.3,
    "MemoryGrowth": 1.0,
}
HAS, HAS_NOT = 1.5, 0.6
CONTENDED = 0.05
"""Share of its time for which an idle process waits for a core."""


@dataclass(frozen=True)
class Truth:
    """What a placement really did."""

    kind: str | None
    """None: nothing, or too little of it."""
    ranks: tuple[int, ...]
    share: float
    is_clear: bool
    """Neither just above nor just below its threshold."""
    step_ms: float


@cache
def fault_module(path: Path) -> ModuleType:
    """Load a fault for what it says of itself."""
    spec = importlib.util.spec_from_file_location(f"said_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def truth(placement: Any, rows: Sequence[Sequence[dict[str, Any]]], fault: ModuleType | None) -> Truth:
    """Reckon from each rank's rows how large the fault was, as a share of the measured step."""
    rows = [each[QUIET:] for each in rows]
    step_ms = median(row["ms"] for row in rows[0])
    kind = fault.KIND if fault else None
    if fault is None or kind is None:
        return Truth(None, (), 0.0, True, step_ms)
    planted = [[row["planted"].get(fault.POINT, 0.0) for row in each] for each in rows]
    if not placement.ranks and hasattr(fault, "ALL"):
        kind = fault.ALL
    if kind in OVER_TIME:
        size = OVER_TIME[kind](placement, rows, planted)
    else:
        size = OF_A_STEP[kind](placement.ranks, planted) / step_ms
    times = size / THRESHOLD[kind]
    has = times >= HAS
    named = kind in {"Straggler", "MemoryGrowth"} or (kind == "Pauses" and len(rows) > 1)
    ranks = tuple(placement.ranks) if has and named else ()
    return Truth(kind if has else None, ranks, size, has or times <= HAS_NOT, step_ms)


Rows = Sequence[Sequence[dict[str, Any]]]
Planted = Sequence[Sequence[float]]


def _later(row: Sequence[float]) -> float:
    return max(row) - sorted(row)[(len(row) - 1) // 2]


def _lower(values: Sequence[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]


OF_A_STEP: dict[str, Callable[[Sequence[int], Planted], float]] = {
    "Straggler": lambda ranks, planted: (
        max(median(planted[rank]) for rank in ranks) - _lower([median(each) for each in planted])
    ),
    "InputBound": lambda _, planted: _lower([median(each) for each in planted]),
    "CommunicationBound": lambda _, planted: median(map(min, zip(*planted, strict=True))),
    "Imbalance": lambda _, planted: mean(map(_later, zip(*planted, strict=True))),
}
"""What was lost in a step, in ms."""


def _paused(_: Any, rows: Rows, planted: Planted) -> float:
    most: list[float] = [max(row) for row in zip(*planted, strict=True)]
    wall: float = sum(row["ms"] for row in rows[0])
    return sum(each for each in most if each > 500) / wall


def _grown(placement: Any, rows: Rows, _: Planted) -> float:
    first = int(placement.more["from"]) - QUIET
    took: list[float] = [row["ms"] for row in rows[0]]
    return median(took[first:]) / median(took[:first]) - 1


def _leaked(placement: Any, rows: Rows, _: Planted) -> float:
    """Return twice the threshold if memory really grew: then the limit is near enough."""
    each = rows[placement.ranks[0]]
    return 2.0 if each[-1]["rss"] - each[0]["rss"] > 0.5 * placement.more["bytes"] * len(each) else 1.0


OVER_TIME: dict[str, Callable[[Any, Rows, Planted], float]] = {
    "Pauses": _paused,
    "Regression": _grown,
    "MemoryGrowth": _leaked,
}


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return the bounds of a share, at 95 %."""
    if not of:
        return 0.0, 1.0
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass
class Outcome:
    """One placement, judged."""

    placement: Any
    truth: Truth
    kind: str
    ranks: tuple[int, ...]
    cause: str | None
    wanted_cause: str | None
    text: str
    contended: float

    @property
    def is_right(self) -> bool:
        """Whether kind and ranks are those of the truth."""
        if self.truth.kind is None:
            return self.kind in {"NoProblem", "Unknown"}
        return (self.kind, self.ranks) == (self.truth.kind, self.truth.ranks)

    @property
    def is_excused(self) -> bool:
        """Whether the machine itself was contended, and the verdict is one that follows from it."""
        of_the_host = {"HostContention", "Imbalance", "CommunicationBound"}
        waits_longer = self.kind == "Straggler" and self.cause == "Host"
        return self.contended >= CONTENDED and (self.kind in of_the_host or waits_longer)

    @property
    def counts(self) -> bool:
        """Whether it is scored."""
        return self.truth.is_clear and not (self.is_excused and not self.is_right)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the results as a table for documents."""
    lines = ["| fault | placements | right | missed | called otherwise |", "| --- | --- | --- | --- | --- |"]
    scored = [each for each in outcomes if each.counts]
    for kind in [*THRESHOLD, None]:
        of = [each for each in scored if each.truth.kind == kind]
        right = sum(each.is_right for each in of)
        missed = sum(not each.is_right and each.kind in {"NoProblem", "Unknown"} for each in of)
        if of:
            wrong = len(of) - right - missed
            lines.append(f"| {kind or 'none, or too small'} | {len(of)} | {right} | {missed} | {wrong} |")
    return "\n".join([*lines, "", summary(outcomes)])


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return precision and recall, and what was thrown away."""
    scored = [each for each in outcomes if each.counts]
    accused = [each for each in scored if each.kind not in {"NoProblem", "Unknown"}]
    faulty = [each for each in scored if each.truth.kind is not None]
    said = []
    for name, of in (("precision", accused), ("recall", faulty)):
        right = sum(each.is_right for each in of)
        low, high = wilson(right, len(of))
        said.append(f"{name} {right}/{len(of)} ({low:.3f} to {high:.3f})")
    near, busy = (
        sum(not e.truth.is_clear for e in outcomes),
        sum(e.truth.is_clear and not e.counts for e in outcomes),
    )
    causes = [each for each in faulty if each.is_right and each.wanted_cause]
    said.append(f"cause {sum(e.cause == e.wanted_cause for e in causes)}/{len(causes)}")
    return ", ".join(said) + f"; thrown away: {near} near their threshold, {busy} on a busy machine"
