"""From lines of vitals to a table: a row for each rank, and of its last blocks how long their steps took."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from ftjob.insight.collect.vitals import NODE_BYTES, read_line
from ftjob_protocol.failures import RANKS_MAX
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob.insight.collect.vitals import Line

BLOCKS = 60
"""Of each rank, the last ones."""
ROWS = 20
SLOWER = 1.05
"""By so much the slowest rank differs from most: else none is marked."""
GB = 1e9


class Block(NamedTuple):
    """Some steps of one rank."""

    first: int
    ms: float
    """Of a step: what the rank itself took, where that is known, else all of it."""


@dataclass(frozen=True)
class Row:
    """What a rank's last block has told: medians of a step. None: it is not known."""

    rank: int
    node: str
    step: int
    """The last one of which is told."""
    end_s: float
    """When that ended, in seconds since 1970, by the clock of its node."""
    step_ms: float
    input_ms: float | None
    own_ms: float | None
    blocked_ms: float | None
    cpu_percent: float | None
    """Of one core."""
    memory_gb: float | None
    gpu_gb: float | None
    blocks: tuple[Block, ...]
    is_slowest: bool = False

    @property
    def took_ms(self) -> float:
        """By what ranks are compared. Steps take all equally long: ranks wait for the slowest one."""
        return self.step_ms if self.own_ms is None else self.own_ms


@dataclass(frozen=True)
class Table:
    """What is known of a job's ranks."""

    rows: tuple[Row, ...]
    """By their rank."""
    ranks: int
    """How many there are; of many the slowest ones are in `rows`."""
    usual_ms: float
    """The median of what all ranks take for a step, without waiting for others."""
    columns: tuple[int, ...]
    """With which steps the blocks begin that are shown."""


class Ranks:
    """Keeps of what comes as much as a table needs."""

    def __init__(self) -> None:
        self._last: dict[int, Line] = {}
        self._blocks: dict[int, deque[Block]] = {}
        self._attempt = 0

    def add(self, text: bytes) -> None:
        """Take a line of vitals; what is none does not count, and nothing does of an earlier attempt."""
        line = read_line(text)
        if line is None or line.rank > RANKS_MAX or line.attempt < self._attempt:
            return
        if line.attempt > self._attempt:
            self._attempt = line.attempt
            self._last, self._blocks = {}, {}
        before = self._last.get(line.rank)
        blocks = self._blocks.setdefault(line.rank, deque(maxlen=BLOCKS))
        if before is not None and line.first <= before.first:
            if line.end_s <= before.end_s:
                return  # read twice
            blocks.clear()  # another life
        self._last[line.rank] = line
        blocks.append(Block(line.first, (line.own_ms or line.step_ms)[0]))

    def table(self, most: int | None = ROWS) -> Table:
        """Return what is known, of more than `most` ranks that of the slowest ones."""
        rows = [_row(line, self._blocks[rank]) for rank, line in sorted(self._last.items())]
        if not rows:
            return Table((), 0, 0.0, ())
        usual, slowest = median(row.took_ms for row in rows), max(rows, key=lambda row: row.took_ms)
        if slowest.took_ms > SLOWER * usual:
            rows[rows.index(slowest)] = replace(slowest, is_slowest=True)
        shown = rows
        if most is not None and len(rows) > most:
            shown = sorted(sorted(rows, key=lambda row: -row.took_ms)[:most], key=lambda row: row.rank)
        columns = sorted({block.first for row in shown for block in row.blocks})
        return Table(tuple(shown), len(rows), usual, tuple(columns[-BLOCKS:]))


def heat(row: Row, columns: Sequence[int]) -> list[int | None]:
    """Return by how many tenths each block was slower than the median of the row; None: it is missing."""
    usual = median(block.ms for block in row.blocks)
    found = {block.first: block.ms for block in row.blocks}
    return [_tenths(found[first], usual) if first in found else None for first in columns]


def as_json(table: Table) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "usualMs": table.usual_ms if table.rows else None,
        "ranks": [
            {
                "rank": row.rank,
                "node": row.node or None,
                "step": row.step,
                "time": row.end_s,
                "stepMs": row.step_ms,
                "inputMs": row.input_ms,
                "ownMs": row.own_ms,
                "blockedMs": row.blocked_ms,
                "cpuPercent": row.cpu_percent,
                "memoryGB": row.memory_gb,
                "gpuGB": row.gpu_gb,
                "isSlowest": row.is_slowest,
                "blocks": [{"first": block.first, "ms": block.ms} for block in row.blocks],
            }
            for row in table.rows
        ],
    }


def _row(line: Line, blocks: Sequence[Block]) -> Row:
    step_ms = line.step_ms[0]
    return Row(
        rank=line.rank,
        node=clean(line.node, NODE_BYTES),
        step=line.first + line.length - 1,
        end_s=line.end_s,
        step_ms=step_ms,
        input_ms=line.input_ms[0] if line.input_ms else None,
        own_ms=line.own_ms[0] if line.own_ms else None,
        blocked_ms=line.blocked_ms[0] if line.blocked_ms else None,
        cpu_percent=100 * line.cpu_ms / step_ms if line.cpu_ms is not None and step_ms else None,
        memory_gb=line.rss_bytes / GB if line.rss_bytes is not None else None,
        gpu_gb=line.gpu_bytes / GB if line.gpu_bytes is not None else None,
        blocks=tuple(blocks),
    )


def _tenths(ms: float, usual: float) -> int:
    if ms <= usual:
        return 0
    return 9 if ms >= 1.9 * usual else int(10 * (ms / usual - 1) + 0.5)
