"""Where a job's time went: each second from its creation to its end in one part. Pure.

Seconds are added when the part changes, so status is not written for the clock's sake, and a restarted
operator goes on from what status says. The times of steps are those of the ranks, whose clocks may differ
from ours: none counts that lies outside of the time that is shared out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.models.status import Part, Phase, Timeline
from ftjob.models.times import rfc3339, unix
from ftjob_protocol.values.progress import SHARES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ftjob.api.job import JobHead
    from ftjob.models.status import JobStatus
    from ftjob.plan.life.attempt import Attempt

Mark = tuple[float, Part | None]
"""When a part begins, in Unix time; None: the job has ended."""

CLEAR_SECONDS = 3.0
"""So long after the first step of another attempt its pace is known, and so what its steps are."""

_BEFORE_RANKS = frozenset({Part.QUEUED, Part.SUSPENDED, Part.STARTING})
_WAITS = {Phase.PENDING: Part.QUEUED, Phase.QUEUED: Part.QUEUED, Phase.SUSPENDED: Part.SUSPENDED}


def begun(job: JobHead, now: float) -> Timeline | None:
    """Return the timeline as it was before this look: from the job's creation on it waits.

    There is none for a job that was started by a version that kept none.
    """
    if job.status.timeline is not None or job.status.start_time is not None:
        return job.status.timeline
    try:
        created = min(unix(job.created), now)
    except (ValueError, OverflowError):
        created = now
    return Timeline(part=Part.QUEUED, since=rfc3339(created))


def not_started(job: JobHead, phase: Phase, now: float) -> Timeline | None:
    """Return the timeline of a job of which nothing runs."""
    before = begun(job, now)
    if before is None:
        return None
    if phase.is_final:
        return _closed(before, [], now)
    return _added(before, [(now, Part.QUEUED)], now)


def timeline(attempt: Attempt, after: JobStatus, said: Mapping[str, Any] | None) -> Timeline | None:
    """Return the timeline after this look.

    Parameters
    ----------
    after
        The job's new status.
    said
        The progress of the present attempt, as its ranks tell it.
    """
    now, before = attempt.now, begun(attempt.job, attempt.now)
    leader = attempt.observed.leader
    shares = leader.shares if leader is not None and leader.attempt == attempt.status.attempt else {}
    if before is None or before.part is None or after.phase is None:
        return before
    marks = _to_steps(before, after.phase, attempt.status, said or {}, now)
    last = _seconds(said, "timeNs", now)
    is_stepping = Part.STEPPING in {before.part, *(part for _, part in marks)}
    if after.phase.is_final:
        return _closed(before, [*marks, *([(last, Part.IDLE)] if is_stepping else [])], now, shares)
    if after.phase is Phase.RESTARTING:
        marks.append((last if is_stepping else now, Part.LOST))
    elif after.phase in _WAITS:
        marks.append((last if is_stepping else now, _WAITS[after.phase]))
    return _added(before, marks, now, shares)


def ended_from_outside(status: JobStatus, now: float) -> Timeline | None:
    """Return the timeline of a job that somebody has ended meanwhile."""
    before = status.timeline
    if before is None or before.part is not Part.STEPPING:
        return _closed(before, [], now) if before is not None else None
    last = status.progress.updated_time if status.progress is not None else None
    return _closed(before, [(unix(last) if last is not None else now, Part.IDLE)], now)


def _to_steps(
    before: Timeline, phase: Phase, status: JobStatus, said: Mapping[str, Any], now: float
) -> list[Mark]:
    """Return what has begun on the way to steps: the start, the run of the ranks, the first new step."""
    marks: list[Mark] = []
    part = before.part
    if phase is Phase.STARTING and part in {Part.QUEUED, Part.SUSPENDED}:
        marks.append((now, Part.STARTING))
    before_steps = part in _BEFORE_RANKS or (part is Part.LOST and status.restarts.step is None)
    if phase is Phase.RUNNING and before_steps:
        marks.append((now, Part.COMPILING))
    if _has_new_steps(before, phase, said):
        first = _seconds(said, "firstNs", now)
        done_before = status.restarts.step if part is Part.LOST else None
        if done_before is None or not _goes_on(said):
            return [*(mark for mark in marks if mark[0] < first), (first, Part.STEPPING)]
        if said["step"] > done_before:
            new = (said["step"] - done_before - 1) * said["stepSeconds"]
            marks.append((max(first, _seconds(said, "timeNs", now) - new), Part.STEPPING))
    return marks


def _has_new_steps(before: Timeline, phase: Phase, said: Mapping[str, Any]) -> bool:
    """Whether steps are told that the timeline has yet to count, and are those of the present attempt."""
    if before.part is Part.STEPPING or phase is Phase.STARTING or not said.get("step"):
        return False
    if before.part is not Part.LOST:
        return True
    told = _seconds(said, "timeNs", 0.0)
    is_clear = phase.is_final or told - _seconds(said, "firstNs", told) >= CLEAR_SECONDS
    return phase is not Phase.RESTARTING and told > unix(before.since) and is_clear


def _goes_on(said: Mapping[str, Any]) -> bool:
    """Whether the ranks count on from a checkpoint: they say clearly more steps than they have had time for.

    Then those up to the last one before the restart are done again. Ranks that count from 1 on don't say so.
    """
    pace = said.get("stepSeconds") or 0.0
    lived = max(0.0, _seconds(said, "timeNs", 0.0) - _seconds(said, "firstNs", 0.0))
    return bool(pace > 0 and said["step"] > 2 + 1.25 * (1 + lived / pace))


def _seconds(said: Mapping[str, Any] | None, key: str, default: float) -> float:
    nanoseconds = (said or {}).get(key)
    return nanoseconds / 1e9 if nanoseconds else default


def _closed(
    before: Timeline, marks: Iterable[Mark], now: float, shares: Mapping[str, float] | None = None
) -> Timeline:
    """Return the timeline of a job that has ended now."""
    marks = list(marks)
    if before.part is Part.COMPILING and not marks:  # what ran may have had no steps at all
        before = before.model_copy(update={"part": Part.UNCOUNTED})
    return _added(before, [*marks, (now, None)], now, shares)


def _added(
    before: Timeline, marks: Iterable[Mark], now: float, shares: Mapping[str, float] | None = None
) -> Timeline:
    """Return a timeline with the seconds up to the last mark that changes the part."""
    part, cursor = before.part, unix(before.since)
    changes: dict[str, Any] = {}

    def add(name: str, seconds: int) -> None:
        if seconds:
            changes[name] = changes.get(name, getattr(before, name) or 0) + seconds

    for when, following in marks:
        if following is part or part is None:
            continue
        until = max(cursor, float(int(min(when, now))))
        seconds = int(until - cursor)
        if part is Part.STEPPING:
            found = {name: int(seconds * (shares or {}).get(name, 0.0)) for name in SHARES}
            for name in SHARES:
                add(name, found[name])
            seconds -= found[Part.PAUSES]
        add(part.value, seconds)
        part, cursor = following, until
    if part is before.part:
        return before
    return before.model_copy(update={**changes, "part": part, "since": rfc3339(cursor)})
