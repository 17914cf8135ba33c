"""What status records of a job's life, and what that means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.index_ranges import parse_indexes
from ftjob.models.status import JobStatus, Phase
from ftjob.models.times import unix

if TYPE_CHECKING:
    from ftjob.models.layout import Place
    from ftjob.plan.observed.pod import PodState

LONG_RUN_SECONDS = 600.0
"""An attempt that ran so long has got somewhere, also where nobody counts steps."""


def is_waited_for(status: JobStatus) -> bool:
    """Whether the ranks are being started again in place, as far as status knows."""
    return status.phase is Phase.RESTARTING and status.pod_attempt < status.attempt


def has_begun(status: JobStatus) -> bool:
    """Whether the present attempt has been started: its pods are wanted."""
    waits = {Phase.RESTARTING, Phase.SUSPENDED, Phase.QUEUED}
    return status.start_time is not None and status.phase not in waits


def active_seconds(status: JobStatus, now: float) -> float:
    """Return the time that the deadline counts: from the start on, without what the job was suspended."""
    since = max(0.0, now - unix(status.active_since)) if status.active_since is not None else 0.0
    return (status.active_seconds or 0) + since


def succeeded_places(status: JobStatus, pods: tuple[PodState, ...]) -> frozenset[Place]:
    """Return the workers that have succeeded: those recorded in status, and those seen now."""
    recorded = {(role.name, i) for role in status.roles for i in parse_indexes(role.succeeded_indexes)}
    return frozenset(recorded | {pod.place for pod in pods if pod.succeeded})


def progressed(status: JobStatus, now: float) -> bool:
    """Whether the job got on since its last restart."""
    step = status.progress.step if status.progress is not None else None
    if step is not None and step > (status.restarts.step or 0):
        return True
    return status.running_time is not None and now - unix(status.running_time) >= LONG_RUN_SECONDS
