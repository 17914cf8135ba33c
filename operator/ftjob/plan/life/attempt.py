"""The present attempt, seen once: its workers, their pods, who has succeeded, who is absent.

Every question about an attempt is asked of this value, so that "the pods of this attempt" means the same
everywhere. What a question does not need is not computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ftjob.models.layout import Place, rank_order
from ftjob.models.status import JobStatus, Phase
from ftjob.models.times import unix
from ftjob.plan.layout import cluster_layout
from ftjob.plan.observed.pod import PodState
from ftjob_protocol.values.ranges import parse_indexes

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.layout import Layout, Place, WorkerPlace
    from ftjob.models.spec import JobSpec
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Replacements


@dataclass(frozen=True)
class Attempt:
    """The attempt whose pods ``status.podAttempt`` counts, at one time."""

    job: Job
    observed: Observed
    now: float
    """Unix time in seconds."""

    @property
    def spec(self) -> JobSpec:
        """The job's spec."""
        return self.job.spec

    @property
    def status(self) -> JobStatus:
        """The job's last status."""
        return self.job.status

    @cached_property
    def layout(self) -> Layout:
        """The workers that the job asks for."""
        return cluster_layout(self.job, self.status.pod_attempt)

    @cached_property
    def every_pod(self) -> tuple[PodState, ...]:
        """All its pods, also those that an elastic job does not want any more."""
        return self.observed.pods_of(self.status.pod_attempt)

    @cached_property
    def pods(self) -> tuple[PodState, ...]:
        """The pods that are wanted."""
        if self.spec.elastic is None:
            return self.every_pod
        names = {worker.name for worker in self.layout.workers}
        return tuple(pod for pod in self.every_pod if pod.name in names)

    @cached_property
    def ranked_pods(self) -> tuple[PodState, ...]:
        """The pods that are wanted, in rank order."""
        return tuple(sorted(self.pods, key=lambda pod: rank_order(pod.place)))

    @cached_property
    def surplus(self) -> tuple[PodState, ...]:
        """The pods that nobody wants any more."""
        wanted = {pod.name for pod in self.pods}
        return tuple(pod for pod in self.every_pod if pod.name not in wanted)

    @cached_property
    def older_pods(self) -> tuple[PodState, ...]:
        """The pods of earlier attempts."""
        return tuple(pod for pod in self.observed.pods if pod.attempt < self.status.pod_attempt)

    @cached_property
    def done(self) -> frozenset[Place]:
        """The workers that have succeeded."""
        return succeeded_places(self.status, self.pods)

    @cached_property
    def absent(self) -> tuple[WorkerPlace, ...]:
        """The workers that have no pod and have not succeeded."""
        present = {pod.name for pod in self.pods}
        return tuple(w for w in self.layout.workers if w.name not in present and w.place not in self.done)

    @cached_property
    def missed(self) -> tuple[WorkerPlace, ...]:
        """Those of the absent that the attempt can't do without."""
        leader = self.layout.leader
        return tuple(w for w in self.absent if self.spec.elastic is None or w is leader)

    @cached_property
    def failed(self) -> tuple[PodState, ...]:
        """The pods that are lost, or have ended otherwise than by success or by our leave."""
        return tuple(
            pod
            for pod in self.pods
            if pod.is_lost
            or (pod.is_over and not pod.succeeded and pod.place not in self.done and not pod.was_released)
        )

    @property
    def has_run(self) -> bool:
        """Whether all its workers have been seen running."""
        return self.status.running_time is not None

    def lived(self, ended: float) -> float:
        """Return for how many seconds it had run by then, counted from its order if nobody saw all run."""
        since = self.status.running_time or self.status.attempt_time
        return max(0.0, ended - unix(since)) if since is not None else 0.0

    def after(self, changes: Replacements | None) -> Attempt:
        """Return the attempt with those counted that are replaced now: their pods have other names."""
        if changes is None:
            return self
        status = self.status.model_copy(update={"replaced": dict(changes.counts) or None})
        return replace(self, job=replace(self.job, status=status))


LONG_RUN_SECONDS = 600.0
"""An attempt that ran so long has got somewhere, also where nobody counts steps."""


def is_waited_for(status: JobStatus) -> bool:
    """Whether the ranks are being started again in place, as far as status knows."""
    return status.phase is Phase.RESTARTING and status.pod_attempt < status.attempt


def workers_run(status: JobStatus) -> bool:
    """Whether all workers of the present attempt have been seen running, whatever their ranks do."""
    return status.running_time is not None and status.phase in {Phase.STARTING, Phase.RUNNING}


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
