"""Clocks of ranks as the hooks write them, and what agents tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob_protocol import files
from ftjob_protocol.vitals import clock
from ftjob_protocol.vitals.block import RankBlock, medians, told
from ftjob_protocol.vitals.clock import StepRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BEGAN_NS = 1_700_000_000_000_000_000


def records(
    first: int, count: int, *, step_ms: float = 20, own_ms: float = 15, input_ms: float = 5, flags: int = 0
) -> list[StepRecord]:
    """Return steps that all take as long."""
    step_us, own_us, input_us = (int(value * 1000) for value in (step_ms, own_ms, input_ms))
    return [
        StepRecord(
            BEGAN_NS + step * step_us * 1000, step, step_us, input_us, own_us, step_us - own_us, 2, flags
        )
        for step in range(first, first + count)
    ]


def write_clock(rank_dir: Path, made: Iterable[StepRecord], *, began_ns: int = BEGAN_NS) -> None:
    """Write the clock of a rank that has made these steps since it began."""
    all_records = list(made)
    ring = bytearray(clock.SIZE)
    head = len(all_records)
    clock.HEADER.pack_into(ring, 0, clock.MAGIC, clock.VERSION, clock.CAPACITY, head, began_ns)
    for number in range(max(0, head - clock.CAPACITY), head):
        place = clock.HEADER.size + number % clock.CAPACITY * clock.RECORD.size
        clock.RECORD.pack_into(ring, place, *all_records[number])
    rank_dir.mkdir(exist_ok=True)
    (rank_dir / files.CLOCK).write_bytes(bytes(ring))


def block(
    rank: int, first: int, steps: Sequence[StepRecord], *, length: int, is_first: bool = False
) -> RankBlock:
    """Return what an agent tells of these steps."""
    start, end = (step.end_ns / 1e9 for step in (steps[0], steps[-1]))
    return RankBlock(
        rank,
        first,
        length,
        told(steps),
        medians(steps),
        start,
        end,
        cpu_ms=10,
        run_delay_ms=0.1,
        throttled_ms=0,
        rss_bytes=1 << 30,
        is_first=is_first,
    )
