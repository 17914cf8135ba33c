"""The steps that count, matched by number, as columns of the ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress
from statistics import median
from typing import Any, Optional

from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.window import CAPTURE, COMPILE, Block, Line, RankBlock

MOST = 0.9
"""So many of the ranks (and of a rank's steps) must have been measured."""
WARM_UP_STEPS, WARM_UP_FEWEST, WARM_UP_MS = 10, 2, 30_000
AFTER_CAPTURE = 2

Column = Optional[Sequence[float]]
"""One signal of one rank, a value a step; None: not measured."""


@dataclass(frozen=True)
class Table:
    """Steps of some consecutive blocks, and what the ranks' hosts say of these blocks."""

    ranks: tuple[int, ...]
    """The ranks that have all steps below."""
    nodes: tuple[str, ...]
    missing: int
    """How many of the job's ranks are not here."""
    step: tuple[Sequence[float], ...]
    input: tuple[Column, ...]
    own: tuple[Column, ...]
    blocked: tuple[Column, ...]
    collectives: float
    """Of a step of the first rank, on average."""
    blocks: tuple[int, ...]
    """How many steps each block has."""
    rows: tuple[tuple[RankBlock, ...], ...]
    """Each rank's blocks."""

    def part(self, first: int, end: int) -> Table:
        """Return some of the blocks."""
        begin, stop = sum(self.blocks[:first]), sum(self.blocks[:end])

        def cut(columns: tuple[Column, ...]) -> tuple[Column, ...]:
            return tuple(None if column is None else column[begin:stop] for column in columns)

        return replace(
            self,
            step=tuple(column[begin:stop] for column in self.step),
            input=cut(self.input),
            own=cut(self.own),
            blocked=cut(self.blocked),
            blocks=self.blocks[first:end],
            rows=tuple(rows[first:end] for rows in self.rows),
        )

    @cached_property
    def cpu(self) -> tuple[Optional[float], ...]:
        """CPU time of a step, one value a rank."""
        return tuple(_mean([row.cpu_ms for row in rows]) for rows in self.rows)

    @cached_property
    def graph(self) -> tuple[Optional[float], ...]:
        """CPU time of a step in graphs, one value a rank."""
        return tuple(_mean([row.graph_ms for row in rows]) for rows in self.rows)

    @cached_property
    def run_delay(self) -> tuple[Optional[float], ...]:
        """How long a rank waits for a core in a step."""
        return tuple(_mean([row.run_delay_ms for row in rows]) for rows in self.rows)

    @cached_property
    def throttled(self) -> tuple[Optional[float], ...]:
        """How long its own limit holds a rank back in a step."""
        return tuple(_mean([row.throttled_ms for row in rows]) for rows in self.rows)

    @property
    def where(self) -> tuple[tuple[Line, ...], ...]:
        """The lines of the last block."""
        return tuple(tuple(Line(*line) for line in rows[-1].where) for rows in self.rows)

    @cached_property
    def steps(self) -> int:
        """How many steps these are."""
        return len(self.step[0]) if self.step else 0

    @cached_property
    def typical_ms(self) -> float:
        """The median over the steps of the median rank's step."""
        return median([lower_median(row) for row in zip(*self.step)])

    @cached_property
    def wall_ms(self) -> float:
        """What all steps took."""
        return sum([lower_median(row) for row in zip(*self.step)])

    @cached_property
    def is_synchronous(self) -> bool:
        """Whether the ranks wait for each other; then all take equally long."""
        if len(self.ranks) < 2 or self.collectives == 0:
            return False
        sums = [sum(column) for column in self.step]
        return max(sums) <= 1.15 * min(sums)

    @cached_property
    def work(self) -> Optional[Mapping[int, Sequence[float]]]:
        """Each rank's own work per step, where ranks wait for each other.

        Where that was not seen, its input: it waits for no other rank, either.
        """
        for columns in (self.own, self.input):
            if self.is_synchronous and self.measured(columns):
                return {rank: column for rank, column in zip(self.ranks, columns) if column is not None}
        return None

    @cached_property
    def late(self) -> Optional[Mapping[int, Sequence[float]]]:
        """By how much each rank works longer than the lower median of all, in each step."""
        if self.work is None:
            return None
        norm = [lower_median(row) for row in zip(*self.work.values())]
        return {rank: [own - usual for own, usual in zip(column, norm)] for rank, column in self.work.items()}

    @cached_property
    def excess(self) -> Mapping[int, float]:
        """The median of `late` over the steps."""
        return {rank: median(late_by) for rank, late_by in (self.late or {}).items()}

    def measured(self, columns: Iterable[Column]) -> bool:
        """Whether nearly all ranks have this signal."""
        return sum(column is not None for column in columns) >= MOST * len(self.ranks)


def usual_ms(ranks: Iterable[RankBlock]) -> float:
    """Return the median step of the median rank, in a block."""
    found = [
        row.typical.step_ms if row.typical else median([step.step_ms for step in row.steps])
        for row in ranks
        if row.typical or row.steps
    ]
    return lower_median(found) if found else 0.0


def pause_ms(usual: float) -> float:
    """Return from what length on a step is a pause, and not a slow step."""
    return max(3 * usual, usual + 500)


def excluded(ranks: Iterable[RankBlock], usual: float) -> set[int]:
    """Return the steps of a block that say nothing about the usual step.

    These are the first of an attempt (ten, or those of half a minute where steps are long), and those that a
    compiler or a capture made long on any rank, with two steps after a capture.
    """
    numbers: set[int] = set()
    count = min(WARM_UP_STEPS, max(WARM_UP_FEWEST, int(WARM_UP_MS / max(1.0, usual))))
    for row in ranks:
        if row.is_first:
            numbers.update([step.step for step in row.steps[:count]])
        for step in [step for step in row.steps if step.flags & (CAPTURE | COMPILE)]:
            if step.flags & CAPTURE:
                numbers.update(range(step.step, step.step + AFTER_CAPTURE + 1))
            else:
                numbers.add(step.step)
    return numbers


def build(blocks: Sequence[Block], ranks: int) -> Table:
    """Clean and match the steps of consecutive blocks."""
    parts = [_matched(block) for block in blocks]
    present = sorted(set.intersection(*[set(steps) for steps, _ in parts])) if parts else []
    columns = [list(map(_joined, zip(*[steps[rank] for steps, _ in parts]))) for rank in present]
    by_rank = [{row.rank: row for row in block.ranks} for block in blocks]
    rows = tuple(tuple(block[rank] for block in by_rank) for rank in present)
    return Table(
        ranks=tuple(present),
        nodes=tuple(each[-1].node for each in rows),
        missing=max(0, ranks - len(present)),
        step=tuple(column[STEP_MS] for column in columns),
        input=tuple(_column(column[INPUT_MS]) for column in columns),
        own=tuple(_column(column[OWN_MS]) for column in columns),
        blocked=tuple(_column(column[BLOCKED_MS]) for column in columns),
        collectives=_collectives(columns[0]) if columns else 0.0,
        blocks=tuple(count for _, count in parts),
        rows=rows,
    )


_Columns = Sequence[Sequence[Any]]
"""The steps of one rank: for each field of ``Step`` its values."""
NUMBER, STEP_MS, INPUT_MS, OWN_MS, BLOCKED_MS, COLLECTIVES, _ = range(7)


def _matched(block: Block) -> tuple[dict[int, _Columns], int]:
    """Return the same usual steps of all ranks that have them, and how many these are.

    Whole columns are compared, since nearly always all ranks have the same steps, and a window of a large job
    has a million.
    """
    usual = usual_ms(block.ranks)
    limit = pause_ms(usual)
    columns: dict[int, _Columns] = {row.rank: tuple(zip(*row.steps)) for row in block.ranks if row.steps}
    had: Counter[int] = Counter()
    for numbers, count in Counter(column[NUMBER] for column in columns.values()).items():
        had.update(dict.fromkeys(numbers, count))
    long: Counter[int] = Counter()
    for column in columns.values():
        if max(column[STEP_MS]) > limit:
            long.update([number for number, took in zip(column[NUMBER], column[STEP_MS]) if took > limit])
    out = excluded(block.ranks, usual)
    wanted = {
        number
        for number, count in had.items()
        if count >= MOST * len(block.ranks) and 2 * long[number] < count and number not in out
    }
    found = {rank: _picked(column, wanted) for rank, column in columns.items()}
    return {rank: column for rank, column in found.items() if column is not None}, len(wanted)


def _picked(columns: _Columns, wanted: set[int]) -> Optional[_Columns]:
    """Return a rank's wanted steps; None if it lacks one."""
    numbers = columns[NUMBER]
    if len(numbers) == len(wanted) and wanted.issuperset(numbers):
        return columns
    keep = [number in wanted for number in numbers]
    if sum(keep) != len(wanted):
        return None
    return [list(compress(column, keep)) for column in columns]


def _joined(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the values of one signal in all blocks."""
    return list(chain.from_iterable(parts))


def _column(values: Sequence[Any]) -> Column:
    """Return a rank's signal, with the few steps that lack it at its median."""
    lacking = values.count(None)
    if not lacking:
        return values
    if lacking > (1 - MOST) * len(values):
        return None
    usual = median([value for value in values if value is not None])
    return [usual if value is None else value for value in values]


def _collectives(columns: _Columns) -> float:
    """Return how many collectives a step of a rank has; where they can't be seen, at least one."""
    if not columns[COLLECTIVES]:
        return 0.0
    if columns[BLOCKED_MS][0] is None:
        return 1.0
    return sum(columns[COLLECTIVES]) / len(columns[COLLECTIVES])


def _mean(values: Sequence[Optional[float]]) -> Optional[float]:
    """Return the mean of the blocks; None if one lacks it."""
    known = [each for each in values if each is not None]
    return sum(known) / len(known) if len(known) == len(values) > 0 else None
