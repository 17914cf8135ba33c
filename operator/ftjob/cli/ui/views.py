"""What the page shows of jobs, as plain data for JSON. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ftjob.api.job import Job, parse_job
from ftjob.cli.jobs.table import UNREADABLE, queue_of, reason_of
from ftjob.cli.look.answer import as_json, rows
from ftjob.cli.look.causes import likeliest
from ftjob.cli.look.seen import time_of
from ftjob.cli.look.status import next_command
from ftjob.cli.terminal import one_line, shown
from ftjob.cli.ui.trail import Drawn, drawn
from ftjob.cli.words import failure_text, progress_line, time_line
from ftjob.models.manifest import mapping
from ftjob.plan.layout import cluster_layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftjob.cli.look.seen import Seen
    from ftjob.cli.ui.trail import Trail
    from ftjob.models.status import JobStatus

WORKERS = 256
"""Rows of one job's table."""
LINES, LINE_CHARACTERS = 600, 2000
"""Of a log."""


@dataclass(frozen=True)
class Row:
    """A job in the list."""

    id: str
    name: str
    where: str
    """Its namespace, or its folder."""
    strategy: str = ""
    phase: str = "?"
    workers: str = ""
    progress: str = ""
    percent: float | None = None
    eta: str = ""
    queue: str = ""
    created: float | None = None
    """Unix time."""
    reason: str = ""


@dataclass(frozen=True)
class Listing:
    """All jobs, the newest first."""

    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Captured:
    """A capture: its id, how it is, and whether a report can be made of it here."""

    id: str
    text: str
    has_report: bool


@dataclass(frozen=True)
class Detail:
    """One job."""

    id: str
    name: str
    where: str
    phase: str
    answer: dict[str, Any]
    """As `ftjob status -o json`, but for workers beyond the first."""
    progress: str = ""
    time: str = ""
    failure: str = ""
    more_workers: int = 0
    ranks: int = 1
    """How many there are logs of."""
    trail: Drawn = field(default_factory=Drawn)
    captures: tuple[Captured, ...] = ()
    has_outputs: bool = False
    """Whether its outputs can be read here: then there are past curves, a map of ranks, and a report."""
    missing: str = ""
    """What can't be had here, and by which command it can."""


@dataclass(frozen=True)
class Log:
    """The last lines of some ranks."""

    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def row(body: Mapping[str, Any], status: JobStatus | None, key: str, where: str) -> Row:
    """Return a job's line; without a status, another version of ftjob has written it."""
    spec, meta = mapping(dict(body), "spec"), mapping(dict(body), "metadata")
    known = Row(
        id=key,
        name=str(meta.get("name")),
        where=where,
        strategy=str(spec.get("strategy") or ""),
        created=time_of(meta.get("creationTimestamp")) or None,
        reason=UNREADABLE,
    )
    if status is None:
        return known
    display, progress = status.display, status.progress
    return Row(
        id=key,
        name=known.name,
        where=where,
        strategy=known.strategy,
        phase=str(status.phase or "New"),
        workers=display.workers if display is not None else "",
        progress=display.progress if display is not None else _progress(status),
        percent=progress.percent if progress is not None else None,
        eta=display.eta if display is not None else "",
        queue=queue_of(dict(body)),
        created=known.created,
        reason=one_line(reason_of(status)),
    )


def _progress(status: JobStatus) -> str:
    progress = status.progress
    if progress is None or progress.step is None:
        return ""
    return f"{progress.percent:.0f}%" if progress.percent is not None else str(progress.step)


def detail(
    row: Row,
    seen: Seen,
    body: dict[str, Any],
    trail: Trail,
    *,
    options: Sequence[str] = (),
    has_pods: bool = True,
    ranks: int | None = None,
    present: Sequence[str] = (),
    has_outputs: bool = False,
    missing: str = "",
) -> Detail:
    """Return what is known of a job.

    Parameters
    ----------
    options
        By which other commands go to the same cluster.
    has_pods
        Whether it has pods; a run on this machine has none.
    ranks
        How many there are logs of; left out: as the job says.
    present
        Captures that a report can be made of.
    has_outputs, missing
        As of `Detail`.
    """
    job, status, cause = parse_job(body), seen.status, likeliest(seen)
    table = rows(seen, job) if has_pods else []
    first = sorted(table, key=lambda found: found["state"] == "Running")[:WORKERS]
    command = next_command(seen, cause, list(options)) if has_pods else ""
    failure = status.failure
    return Detail(
        id=row.id,
        name=row.name,
        where=row.where,
        phase=str(status.phase or "New"),
        answer=as_json(seen, cause, first, command),
        progress=progress_line(status.progress) if status.progress is not None else "",
        time=time_line(status.timeline) if status.timeline is not None else "",
        failure=failure_text(failure.model_copy(update={"hint": None})) if failure is not None else "",
        more_workers=len(table) - len(first),
        ranks=_ranks(job, status) if ranks is None else ranks,
        trail=drawn(trail),
        captures=captures(status, present),
        has_outputs=has_outputs,
        missing=missing,
    )


def _ranks(job: object, status: JobStatus) -> int:
    if not isinstance(job, Job):
        return 1
    return sum(len(worker.ranks) for worker in cluster_layout(job, status.pod_attempt).workers)


def captures(status: JobStatus, present: Sequence[str]) -> tuple[Captured, ...]:
    """Return the captures that status knows, and those that are there; a report can be made of the latter."""
    told = {each.id: each for each in status.profile.captures} if status.profile is not None else {}
    names = [*told, *(name for name in present if name not in told)]
    return tuple(
        Captured(
            name,
            " ".join(filter(None, (told[name].phase, told[name].ranks, told[name].reason)))
            if name in told
            else "",
            name in present,
        )
        for name in names
    )


def missing(name: str, namespace: str, options: Sequence[str], *, has_outputs: bool) -> str:
    """Return why a job in the cluster has no map of ranks here, and the command that brings it."""
    if not has_outputs:
        return "The job has no spec.outputs, so no map of its ranks and no curves of the past are kept."
    command = " ".join(("ftjob report", name, "-n", namespace, *options))
    return (
        "The map of ranks, the curves of the past and the report are in the job's outputs. "
        f"This fetches them: {command}"
    )


def log_text(text: str) -> str:
    """Return a line of a log as it stands in the end, after whatever a progress bar wrote over."""
    return text.rstrip("\r").rpartition("\r")[2][:LINE_CHARACTERS]


def to_json(view: Any) -> bytes:
    """Return a view as JSON: texts without what hides or turns them, numbers that JSON has."""
    return json.dumps(_plain(view), ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {shown(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    return value
