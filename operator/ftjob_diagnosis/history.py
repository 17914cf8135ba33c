"""All long steps of a window, by which checkpoints and evaluations show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Optional

from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.table import excluded, pause_ms
from ftjob_diagnosis.window import Block, Step

FEWEST = 2
OVER = 3.0
"""Pauses are over when none has come for so many times as long as they were apart."""
BUSY = 0.5
"""A rank that works for this part of a pause is one that makes it."""


@dataclass(frozen=True)
class Pause:
    """One long step."""

    at_ms: float
    """When it ended, from the begin of its block on; in a `History`, from that of the first one."""
    lost_ms: float
    """Beyond a usual step."""
    ranks: Optional[frozenset[int]]
    """Those that worked; None: not seen, or all."""


@dataclass(frozen=True)
class History:
    """The pauses of a block, or of several."""

    pauses: tuple[Pause, ...]
    wall_ms: float

    @property
    def share(self) -> float:
        """Which part of the time they take; 0 if they are too few, or over."""
        if len(self.pauses) < FEWEST or not self.wall_ms:
            return 0.0
        times = [pause.at_ms for pause in self.pauses]
        apart = (times[-1] - times[0]) / (len(times) - 1)
        if self.wall_ms - times[-1] > OVER * apart:
            return 0.0
        return sum(pause.lost_ms for pause in self.pauses) / self.wall_ms


def joined(histories: Iterable[History]) -> History:
    """Put the pauses of consecutive blocks one after another."""
    pauses: list[Pause] = []
    wall = 0.0
    for each in histories:
        pauses += [Pause(wall + pause.at_ms, pause.lost_ms, pause.ranks) for pause in each.pauses]
        wall += each.wall_ms
    return History(tuple(pauses), wall)


def of_block(block: Block, usual: float) -> History:
    """Find the steps that are long for half of the ranks or more."""
    limit = pause_ms(usual)
    long: dict[int, list[tuple[int, Step]]] = defaultdict(list)
    for row in block.ranks:
        for step in row.steps:
            if step.step_ms > limit:
                long[step.step].append((row.rank, step))
    skipped = excluded(block.ranks, usual)
    wall, done = _walls(block, skipped)
    pauses = [
        Pause(
            done.get(number, 0.0),
            lower_median([step.step_ms for _, step in steps]) - usual,
            _working(steps, usual),
        )
        for number, steps in sorted(long.items())
        if 2 * len(steps) >= len(block.ranks) and number not in skipped
    ]
    return History(tuple(pauses), wall)


def _walls(block: Block, skipped: set[int]) -> tuple[float, dict[int, float]]:
    """Return how long the block took, and up to each of its steps."""
    done: dict[int, float] = {}
    total = 0.0
    if not block.ranks:
        return total, done
    row = block.ranks[0]
    for step in row.steps:
        if step.step not in skipped:
            total += step.step_ms
            done[step.step] = total
    measured = 0.0 if row.is_first else 1000 * (row.end_s - row.start_s)
    return max(total, measured), done


def _working(steps: Sequence[tuple[int, Step]], usual: float) -> Optional[frozenset[int]]:
    """Return the ranks that worked while the others waited."""
    if len(steps) < 2 or any(step.own_ms is None for _, step in steps):
        return None
    busy = frozenset(
        rank for rank, step in steps if (step.own_ms or 0.0) - usual > BUSY * (step.step_ms - usual)
    )
    return busy if 0 < len(busy) <= len(steps) // 2 else None
