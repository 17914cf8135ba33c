"""The blocks that the leader keeps: the last ones with their steps, those before with what is typical.

However many ranks a job has, they take a bounded part of the agent's memory. Steps are matched by number;
what runs in place of ranks that have ended begins anew.
"""

from __future__ import annotations

from dataclasses import replace
from heapq import nlargest
from operator import attrgetter
from typing import TYPE_CHECKING, Mapping, Optional

from ftjob_diagnosis.window import MEMORY, Block, Line, RankBlock, Seen, Step
from ftjob_protocol.vitals import block as wire
from ftjob_protocol.vitals.clock import INSIDE

if TYPE_CHECKING:
    from ftjob_protocol.vitals.clock import StepRecord

STEPS = 200_000
"""Steps that are kept of all ranks together: at 240 bytes each, 48 MB."""
LEAST_STEPS = 8
"""Of each rank and block, however many ranks there are."""
TYPICAL = 60_000
"""Blocks of ranks that are kept without their steps: at 1 kB each, 60 MB."""
LATE = 2
"""A block is not waited for any more once ranks tell of the one so many after it."""

_STEP_US = attrgetter("step_us")

Place = tuple[int, int]
"""A block's first step and its length."""


class Kept:
    """The blocks of ranks that run together.

    Parameters
    ----------
    ranks
        How many ranks there are.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self._steps = min(
            wire.STEPS_TOLD + wire.PAUSES_TOLD, max(LEAST_STEPS, STEPS // max(1, MEMORY.whole * ranks))
        )
        self._most = max(MEMORY.whole, min(MEMORY.all, TYPICAL // max(1, ranks)))
        self._open: dict[Place, dict[int, RankBlock]] = {}
        self._last: Optional[Place] = None
        self._number = 0
        self._begun: dict[int, float] = {}
        """By rank, when its first block began by its host's clock; 0 if that was never told."""
        self._memory: dict[int, int] = {}
        self.blocks: tuple[Block, ...] = ()
        """Those of which no more is expected, oldest first."""

    @property
    def seen(self) -> Seen:
        """What the hooks of any rank can watch, as far as the last block shows."""
        last = self.blocks[-1].ranks if self.blocks else ()
        found = [rank.typical for rank in last if rank.typical is not None]
        return Seen(
            input=any(step.input_ms is not None for step in found),
            collectives=any(step.blocked_ms is not None for step in found),
        )

    @property
    def is_blind(self) -> bool:
        """Whether all ranks make steps that are compiled with their collectives, as the last block shows."""
        last = self.blocks[-1].ranks if self.blocks else ()
        inside = [rank.typical is not None and bool(rank.typical.flags & INSIDE) for rank in last]
        return len(inside) == self.ranks and all(inside)

    @property
    def memory_limit(self) -> Optional[int]:
        """What one rank may use, of those that may use the least."""
        return min(self._memory.values(), default=None)

    def begins_anew(self, found: wire.RankBlock) -> bool:
        """Whether a rank that was there begins again, with steps that others have made already.

        What is told again, or late, is no new beginning: an agent repeats a block until it is answered.
        """
        begun = self._begun.get(found.rank)
        if not found.is_first or begun is None or begun == found.start_s:
            return False
        return self._last is not None and found.first <= self._last[0]

    def take(self, report: wire.Report, own_ranks: int) -> bool:
        """Take in what an agent with so many ranks tells; return whether a block has become whole."""
        for found in report.blocks:
            self._begun.setdefault(found.rank, found.start_s if found.is_first else 0.0)
            place = (found.first, found.length)
            if self._last is None or found.first >= sum(self._last):
                block = _diagnosed(found, report.node, self._steps)
                self._open.setdefault(place, {}).setdefault(found.rank, block)
            if report.memory_limit_bytes is not None:
                self._memory[found.rank] = report.memory_limit_bytes // max(1, own_ranks)
        return self._close()

    def _close(self) -> bool:
        """Close the blocks that all ranks have told of, and those that are not waited for any more."""
        closed = False
        for place in sorted(self._open):
            first, length = place
            ranks = self._open.get(place, {})
            is_late = any(other >= first + LATE * length for other, _ in self._open)
            if not ranks or not (len(ranks) >= self.ranks or is_late):
                continue
            self._append(place, ranks)
            # What is older will never be whole, and what overlaps was cut by another length.
            self._open = {other: ranks for other, ranks in self._open.items() if other[0] >= first + length}
            closed = True
        return closed

    def _append(self, place: Place, ranks: Mapping[int, RankBlock]) -> None:
        follows = self._last is not None and sum(self._last) == place[0]
        self._number += 1 if follows or self._last is None else 2
        self._last = place
        blocks = [*self.blocks, Block(self._number, tuple(ranks[rank] for rank in sorted(ranks)))]
        if len(blocks) > MEMORY.whole:
            blocks[-MEMORY.whole - 1] = _aged(blocks[-MEMORY.whole - 1])
        self.blocks = tuple(blocks[-self._most :])


def _diagnosed(found: wire.RankBlock, node: str, most: int) -> RankBlock:
    """Return a block as the diagnosis takes it, with so many steps at most."""
    longest = nlargest(most // 8, found.steps, key=_STEP_US)
    lately = found.first + found.length - (most - len(longest))
    numbers = {step.step for step in longest}
    kept = [step for step in found.steps if step.step >= lately or step.step in numbers]
    return RankBlock(
        found.rank,
        node,
        tuple(map(_step, kept)),
        cpu_ms=found.cpu_ms,
        graph_ms=found.graph_ms,
        run_delay_ms=found.run_delay_ms,
        throttled_ms=found.throttled_ms,
        rss_bytes=found.rss_bytes,
        gpu_bytes=found.gpu_bytes,
        where=tuple(Line(line.text, str(line.doing), line.share) for line in found.where),
        start_s=found.start_s,
        end_s=found.end_s,
        is_first=found.is_first,
        typical=_step(found.typical),
    )


def _step(record: StepRecord) -> Step:
    return Step(
        record.step,
        record.step_ms,
        record.input_ms,
        record.own_ms,
        record.blocked_ms,
        record.collectives,
        record.flags,
    )


def _aged(block: Block) -> Block:
    """Return a block with its pauses alone."""
    return replace(block, ranks=tuple(replace(rank, steps=_pauses(rank), where=()) for rank in block.ranks))


def _pauses(rank: RankBlock) -> tuple[Step, ...]:
    usual = rank.typical.step_ms if rank.typical is not None else 0.0
    return tuple(step for step in rank.steps if step.step_ms > wire.PAUSE * usual)[:LEAST_STEPS]
