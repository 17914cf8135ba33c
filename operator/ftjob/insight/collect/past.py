"""The diagnosis of a whole job: each line of its vitals counts as one typical step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob_diagnosis import window as w
from ftjob_diagnosis.diagnose import diagnose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftjob.insight.collect.vitals import Line
    from ftjob_diagnosis.findings import Diagnosis

LEAST, BLOCKS = 32, 2
"""Lines without which the job is too short for this."""


def diagnosis_of(ranks: Mapping[int, Sequence[Line]], strategy: str) -> Diagnosis | None:
    """Return what the job's whole time says; None if it is too short."""
    shared = set.intersection(*({line.first for line in lines} for lines in ranks.values()))
    order = sorted(shared)
    if len(order) < LEAST:
        return None
    place = {first: number for number, first in enumerate(order)}
    size = -(-len(order) // BLOCKS)
    blocks = [
        w.Block(
            number, tuple(_block(rank, lines, place, range(at, at + size)) for rank, lines in ranks.items())
        )
        for number, at in enumerate(range(0, len(order), size))
    ]
    seen = w.Seen(
        input=any(line.input_ms for lines in ranks.values() for line in lines),
        collectives=any(line.blocked_ms for lines in ranks.values() for line in lines),
    )
    return diagnose(w.Window(tuple(blocks), len(ranks), strategy, seen=seen))


def _block(rank: int, lines: Sequence[Line], place: Mapping[int, int], wanted: range) -> w.RankBlock:
    kept = [line for line in lines if place.get(line.first, -1) in wanted]
    return w.RankBlock(
        rank=rank,
        node=kept[-1].node,
        steps=tuple(
            w.Step(
                place[line.first] + 1,
                line.step_ms[0],
                line.input_ms[0] if line.input_ms else None,
                line.own_ms[0] if line.own_ms else None,
                line.blocked_ms[0] if line.blocked_ms else None,
                line.collectives,
            )
            for line in kept
        ),
        cpu_ms=_mean([line.cpu_ms for line in kept]),
        graph_ms=_mean([line.graph_ms for line in kept]),
        run_delay_ms=_mean([line.run_delay_ms for line in kept]),
        throttled_ms=_mean([line.throttled_ms for line in kept]),
        rss_bytes=kept[-1].rss_bytes,
        gpu_bytes=kept[-1].gpu_bytes,
        where=tuple(w.Line(*line) for line in kept[-1].where),
        start_s=kept[0].start_s,
        end_s=kept[-1].end_s,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
