"""Compares verdicts with the truth that the programs wrote down."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from math import sqrt
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from insight.plan import Sees
from insight.planted import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
CPU_EXCESS, CPU_FACTOR = 0.15, 1.3
"""Where only the CPU time of a straggler is seen: of the step, and of what the others use."""
HAS, HAS_NOT = 1.5, 0.6
CONTENDED = 0.05
"""Share of its time for which an idle process waits for a core."""


Rows = Sequence[Sequence[dict[str, Any]]]
Planted = Sequence[Sequence[float]]


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
    is_hidden: bool = False
    """The clock can't see it in such a program: then the verdict must say that it does not know."""
    cause: str | None = None


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
    ranks = _delayed(planted) if fault.POINT == "host" else placement.ranks
    if kind in OVER_TIME:
        size = OVER_TIME[kind](placement, rows, planted)
    else:
        size = OF_A_STEP[kind](ranks, planted) / step_ms
    times, seen, cause = size / THRESHOLD[kind], sight(kind, fault, placement.program.sees), fault.CAUSE
    if seen is By.CPU:
        times, cause = _of_cpu(placement.ranks, rows), "Compute"
    has = times >= HAS
    named = kind in {"Straggler", "MemoryGrowth"} or (
        kind == "Pauses" and len(rows) > 1 and Sees.WAITS in placement.program.sees
    )
    return Truth(
        kind if has else None,
        tuple(ranks) if has and named else (),
        size,
        has or times <= HAS_NOT,
        step_ms,
        has and seen is By.NOTHING,
        cause if has and kind == "Straggler" else None,
    )


class By(Enum):
    """What shows a fault."""

    CLOCK = auto()
    CPU = auto()
    """A rank that uses more CPU time than the others, where nobody sees what it does."""
    NOTHING = auto()


def sight(kind: str, fault: ModuleType, sees: Sees) -> By:
    """Return by what a fault can be found without a capture, in programs of which so much is seen."""
    needs = {
        "Pauses": Sees.STEPS,
        "Regression": Sees.STEPS,
        "MemoryGrowth": Sees.STEPS,
        "InputBound": Sees.STEPS | Sees.INPUT,
        "Straggler": Sees.STEPS | (Sees.INPUT if fault.POINT == "input" else Sees.WAITS),
    }.get(kind, Sees.ALL)
    if needs in sees:
        return By.CLOCK
    burns = kind == "Straggler" and getattr(fault, "BURNS", False)
    return By.CPU if burns and Sees.STEPS in sees else By.NOTHING


def _of_cpu(ranks: Sequence[int], rows: Rows) -> float:
    """Return how many times its threshold the CPU time is that some ranks use more than the others."""
    used: list[float] = [mean(row["cpu"] for row in each) for each in rows]
    usual = _lower([each for rank, each in enumerate(used) if rank not in ranks])
    more: float = min(used[rank] for rank in ranks) - usual
    step_ms: float = median(row["ms"] for row in rows[0])
    return min(more / step_ms / CPU_EXCESS, more / usual / (CPU_FACTOR - 1))


def _delayed(planted: Planted) -> list[int]:
    """Return the ranks that their host held up: on a busy machine it may be others than was planned."""
    lost = [median(each) for each in planted]
    return [rank for rank, each in enumerate(lost) if each == max(lost)]


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
    text: str
    contended: float

    @property
    def is_right(self) -> bool:
        """Whether kind and ranks are those of the truth; "no problem" takes that all was seen."""
        if self.kind == "NoProblem" and Sees.ALL not in self.placement.program.sees:
            return False
        if self.truth.kind is None:
            return not self.accuses
        known = (self.kind, self.ranks) == (self.truth.kind, self.truth.ranks)
        return known or (self.truth.is_hidden and self.kind == "Unknown")

    @property
    def accuses(self) -> bool:
        """Whether the verdict names a fault."""
        return self.kind not in {"NoProblem", "Unknown"}

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
    """Return the results as tables for documents: by kind of fault, and by program."""
    scored = [each for each in outcomes if each.counts]
    kinds = {kind: [each for each in scored if _is(each, kind)] for kind in THRESHOLD}
    kinds["not to be seen"] = [each for each in scored if each.truth.is_hidden]
    kinds["none, or too small"] = [each for each in scored if each.truth.kind is None]
    programs = dict.fromkeys(each.placement.program.label for each in outcomes)
    by_program = {
        name: [each for each in scored if each.placement.program.label == name] for name in programs
    }
    return "\n\n".join([_rows("fault", kinds), _rows("program", by_program), summary(outcomes)])


def _is(outcome: Outcome, kind: str) -> bool:
    return outcome.truth.kind == kind and not outcome.truth.is_hidden


def _rows(title: str, groups: Mapping[str, Sequence[Outcome]]) -> str:
    lines = [
        f"| {title} | placements | right | missed | called otherwise | precision | recall |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, of in groups.items():
        if of:
            right = sum(each.is_right for each in of)
            missed = sum(not each.is_right and not each.accuses for each in of)
            shares = " | ".join(said(*share) for share in (precision(of), recall(of)))
            lines.append(
                f"| {name} | {len(of)} | {right} | {missed} | {len(of) - right - missed} | {shares} |"
            )
    return "\n".join(lines)


def precision(scored: Sequence[Outcome]) -> tuple[int, int]:
    """Return how many accusations are right, and how many there are."""
    accused = [each for each in scored if each.accuses]
    return sum(each.is_right for each in accused), len(accused)


def recall(scored: Sequence[Outcome]) -> tuple[int, int]:
    """Return how many faults that can be seen are called what they are, and how many there are."""
    faulty = [each for each in scored if each.truth.kind is not None and not each.truth.is_hidden]
    return sum(each.is_right for each in faulty), len(faulty)


def said(hits: int, of: int) -> str:
    """Return a share with its bounds."""
    low, high = wilson(hits, of)
    return f"{hits}/{of} ({low:.3f} to {high:.3f})" if of else "none"


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return precision and recall, and what was thrown away."""
    scored = [each for each in outcomes if each.counts]
    near, busy = (
        sum(not e.truth.is_clear for e in outcomes),
        sum(e.truth.is_clear and not e.counts for e in outcomes),
    )
    causes = [each for each in scored if each.accuses and each.is_right and each.truth.cause]
    return (
        f"precision {said(*precision(scored))}, recall {said(*recall(scored))}, "
        f"cause {sum(e.cause == e.truth.cause for e in causes)}/{len(causes)}; "
        f"thrown away: {near} near their threshold, {busy} on a busy machine"
    )
