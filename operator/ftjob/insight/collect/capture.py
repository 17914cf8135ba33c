"""From the raw files of a capture to its summary, its report and one timeline: one rank after the other."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from ftjob.insight.collect import merge
from ftjob.insight.collect.figures import Figures, figures
from ftjob.insight.collect.job import body_of, job_of
from ftjob.insight.collect.judge import Shown, judge, verdict_of
from ftjob.insight.collect.together import (
    Clocks,
    Excess,
    aligned,
    clocks,
    collectives,
    excesses,
    latest,
    start_skew_ms,
)
from ftjob.insight.collect.vitals import nodes
from ftjob.insight.raw import rank as raw
from ftjob.insight.raw.trace import BrokenTraceError
from ftjob.insight.summary import (
    SCHEMA,
    VERSION,
    BrokenRank,
    Capture,
    Coverage,
    Heat,
    Operator,
    Rank,
    Spread,
    Summary,
    Window,
)
from ftjob_protocol import files
from ftjob_protocol.values.ranges import format_indexes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftjob_protocol.captures import Done
    from ftjob_protocol.files.nofollow import Folder

_RANK = re.compile(r"rank-([0-9]{5,7})")
_REQUEST_LIMIT = 1 << 20
_RANKS_MAX = 100_000


class NoCaptureError(Exception):
    """There is no such capture; the message says what there is."""


@dataclass(frozen=True)
class Collected:
    """A summary, and what a timeline needs besides it."""

    summary: Summary
    offsets: Mapping[int, int]
    zero_ns: int


@dataclass(frozen=True)
class _Asked:
    """What the capture was to be."""

    id: str
    request: dict[str, Any]
    ranks: Sequence[int]
    merged: Sequence[int]
    """Whose traces the timeline is to have; none: those that tell most."""


@dataclass
class _Read:
    """What has come of each rank."""

    figures: list[Figures] = field(default_factory=list)
    broken: list[BrokenRank] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    partial: list[int] = field(default_factory=list)


def captures(outputs: Folder) -> list[str]:
    """Return the ids of the captures in the outputs."""
    try:
        with outputs.enter(files.CAPTURES) as folder:
            names = list(folder.names())
    except OSError:
        return []
    return [name for name in names if _has_raw(outputs, name)]


def _has_raw(outputs: Folder, name: str) -> bool:
    try:
        with outputs.enter(f"{files.capture(name)}/{files.RAW}"):
            return True
    except OSError:
        return False


def collect(outputs: Folder, capture: str, merged: Sequence[int] = ()) -> Collected:
    """Read a capture.

    Parameters
    ----------
    merged
        Whose traces its timeline is to have; none: those that tell most.

    Raises
    ------
    NoCaptureError
        There is none by that id, it has no rank, or a rank of the timeline can't be read.
    """
    try:
        folder = outputs.enter(files.capture(capture))
    except OSError:
        known = ", ".join(captures(outputs)) or "none"
        raise NoCaptureError(f"there is no capture {capture} (there are: {known})") from None
    with folder:
        request = _request(folder)
        ranks = _expected(folder, request)
        if not ranks:
            raise NoCaptureError(f"capture {capture} has no ranks yet")
        found = _read(folder, ranks)
        found.figures = aligned(found.figures)
    readable = {one.rank for one in found.figures}
    if gone := [rank for rank in merged if rank not in readable]:
        raise NoCaptureError(
            f"capture {capture} has no trace of rank {gone[0]} that can be read; "
            f"choose among these ranks: {format_indexes(readable) or 'none'}"
        )
    at = clocks(found.figures)
    zero = min((one.start_ns + at.offsets[one.rank] for one in found.figures), default=0)
    asked = _Asked(capture, request, ranks, merged)
    return Collected(_summary(outputs, asked, found, at), at.offsets, zero)


def write_timeline(outputs: Folder, found: Collected) -> None:
    """Write one timeline of the ranks that the summary names."""
    capture = found.summary.capture
    if capture is None or not capture.merged:
        return
    with (
        outputs.enter(files.capture(capture.id)) as folder,
        folder.replacing(merge.FILE) as descriptor,
        os.fdopen(descriptor, "wb", closefd=False) as file,
    ):
        timeline = merge.Timeline(file, found.zero_ns)
        for rank in capture.merged:
            with (
                suppress(OSError, BrokenTraceError),
                folder.enter(f"{files.RAW}/{files.rank_name(rank)}") as inner,
            ):
                said = raw.done(inner)
                if said is not None:
                    timeline.add(rank, inner, said.files, found.offsets.get(rank, 0))
        timeline.close()


def _request(folder: Folder) -> dict[str, Any]:
    try:
        data = json.loads(folder.read(files.REQUEST, _REQUEST_LIMIT))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _expected(folder: Folder, request: dict[str, Any]) -> list[int]:
    """Return the ranks that were to take part, and those that have left something."""
    asked = request.get("ranks")
    ranks = (
        {rank for rank in asked if isinstance(rank, int) and 0 <= rank < _RANKS_MAX}
        if isinstance(asked, list)
        else set()
    )
    with suppress(OSError), folder.enter(files.RAW) as inner:
        ranks |= {int(match[1]) for name in inner.names() if (match := _RANK.fullmatch(name))}
    return sorted(ranks)


def _read(folder: Folder, ranks: Sequence[int]) -> _Read:
    found = _Read()
    for rank in ranks:
        try:
            inner = folder.enter(f"{files.RAW}/{files.rank_name(rank)}")
        except OSError:
            found.missing.append(rank)
            continue
        with inner:
            try:
                said = raw.done(inner)
                if said is None:
                    found.missing.append(rank)
                    continue
                found.figures.append(_of_rank(inner, said, rank, is_alone=len(ranks) == 1))
                if said.is_partial:
                    found.partial.append(rank)
            except BrokenTraceError as error:
                found.broken.append(BrokenRank(rank=rank, why=str(error)))
            except (MemoryError, RecursionError):
                found.broken.append(
                    BrokenRank(rank=rank, why="reading it takes more memory than the collector has")
                )
    return found


def _of_rank(folder: Folder, said: Done, rank: int, *, is_alone: bool) -> Figures:
    """Read one rank; its trace is dropped on return."""
    return figures(raw.trace(folder, said), rank, is_alone=is_alone)


def _summary(outputs: Folder, asked: _Asked, found: _Read, at: Clocks) -> Summary:
    job = job_of(body_of(outputs), asked.request.get("attempt"))
    over = excesses(found.figures)
    steps = sorted({step.number for one in found.figures for step in one.steps})
    exchanged = collectives(found.figures, len(steps))
    transfer = sum(row.transfer_ms * row.per_step for row in exchanged)
    where = nodes(outputs, [one.rank for one in found.figures])
    rows = [_rank(one, where.get(one.rank, ""), over.get(one.rank), transfer) for one in found.figures]
    lengths = [step.step for one in found.figures for step in one.steps]
    shown = Shown(
        ranks=rows,
        step_ms=median(lengths) if lengths else 0.0,
        steps=len(steps),
        is_whole=len(rows) == len(asked.ranks) and not found.partial,
        idle_share=max((one.idle_share for one in found.figures if one.idle_share is not None), default=None),
        kernel_us=median([one.kernel_us for one in found.figures] or [0.0]),
        late=latest(found.figures),
    )
    findings = judge(shown)
    seen = {
        "input": any(row.input_ms is not None for row in rows),
        "collectives": any(one.calls for one in found.figures) or len(asked.ranks) == 1,
    }
    own = {row.rank: row.own_ms for row in rows if row.own_ms is not None}
    culprits = [rank for finding in findings for rank in finding.ranks]
    frameworks = sorted({one.framework for one in found.figures})
    merged = list(asked.merged) or merge.choose(culprits, [row.rank for row in rows], own, where)
    return Summary(
        schema=SCHEMA,  # type: ignore[arg-type]  # the one literal
        version=VERSION,  # type: ignore[arg-type]
        job=job.named(" and ".join(frameworks)),
        capture=_capture(asked, found, at, merged),
        window=Window(steps=[steps[0], steps[-1]] if steps else [], blocks=0, excluded={}),
        step_ms=Spread(p50=round(median(lengths), 3), p95=round(_p95(lengths), 3)) if lengths else None,
        ranks=rows,
        collectives=exchanged,
        findings=findings,
        verdict=verdict_of(findings, shown, seen),
        heat=_heat(found.figures, steps),
        notes=_notes(found, asked.request),
    )


def _capture(asked: _Asked, found: _Read, at: Clocks, merged: list[int]) -> Capture:
    steps = sorted({step.number for one in found.figures for step in one.steps})
    return Capture(
        id=asked.id,
        kind=str(asked.request.get("mode") or "OnDemand")[:40],
        steps=[steps[0], steps[-1]] if steps else [],
        start_skew_ms=start_skew_ms(found.figures, at.offsets),
        ranks=Coverage(
            expected=len(asked.ranks),
            read=[one.rank for one in found.figures],
            missing=found.missing,
            broken=found.broken,
        ),
        clock=at.clock,
        merged=merged,
        time=round(found.figures[0].start_ns / 1e9, 3) if found.figures else None,
    )


def _rank(one: Figures, node: str, over: Excess | None, transfer: float) -> Rank:
    blocked = one.median("blocked")
    return Rank(
        rank=one.rank,
        node=node,
        step_ms=_rounded(one.median("step")),
        input_ms=_rounded(one.median("input")),
        own_ms=_rounded(one.median("own")),
        blocked_ms=_rounded(blocked),
        transfer_ms=_rounded(min(transfer, blocked)) if blocked is not None and one.calls else None,
        excess_ms=over.ms if over else None,
        persistence=over.persistence if over else None,
        last_share=over.last_share if over else None,
        operators=[
            Operator(name=found.name[:200], count=found.calls, self_ms=round(found.self_us / 1e3, 3))
            for found in one.operators
        ],
    )


def _heat(ranks: Sequence[Figures], steps: Sequence[int]) -> Heat | None:
    rows = [{step.number: step.own for step in one.steps} for one in ranks]
    columns = list(steps)[:240]
    values = [[_rounded(row.get(step)) for step in columns] for row in rows]
    return (
        Heat(columns=columns, own_ms=values)
        if any(value is not None for row in values for value in row)
        else None
    )


def _notes(found: _Read, request: dict[str, Any]) -> list[str]:
    notes = []
    if found.partial:
        notes.append(f"the capture was cut short in these ranks: {format_indexes(found.partial)}")
    dropped = sum(one.dropped for one in found.figures)
    if dropped:
        notes.append(f"{dropped} events were left out: their times can't be")
    if any(one.framework != "torch" for one in found.figures):
        notes.append("time in tf.data and in JAX' input is inside the graph and was not seen")
    if not request:
        notes.append("request.json is missing, so the ranks are those that left something")
    return notes


def _p95(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
