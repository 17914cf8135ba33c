"""Elastic jobs: workers that come, go and are replaced while the attempt goes on. Pure.

A worker of index 1 or higher may be *lost* (its pod was deleted or evicted, its node or its agent has died),
which costs nothing, or *fail* by itself, which spends ``restart.limit`` as a restart of the whole job would.
Either way another pod takes its index, under another name: the old one may hang on a dead node for ever.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.plan.decision import Replacements
from ftjob.plan.layout import cluster_layout
from ftjob.plan.life.deletion import refs
from ftjob.plan.life.first_failure import first_failure, sentence
from ftjob.plan.life.record import progressed
from ftjob.plan.life.restart import backoff, judge
from ftjob.plan.observed.state import RefusalKind
from ftjob_protocol.failures import FailureClass, FailureType
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.api.job import Job
    from ftjob.models.layout import Layout, Place
    from ftjob.models.spec import JobSpec
    from ftjob.models.status import Failure, RoleStatus
    from ftjob.plan.decision import PodRef
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import Refusal

OWN_FAILURES = frozenset(
    {FailureClass.EXCEPTION, FailureClass.EXIT, FailureClass.SIGNAL, FailureClass.CONFIG}
)
KILLED = 137


def counted(job: Job, changes: Replacements | None) -> Job:
    """Return the job with those counted that are replaced now: their pods have other names."""
    if changes is None:
        return job
    update = {"replaced": dict(changes.counts) or None}
    return replace(job, status=job.status.model_copy(update=update))


def present_pods(job: Job, pods: tuple[PodState, ...]) -> tuple[PodState, ...]:
    """Return the pods of the present attempt that are wanted: those of an elastic job may be surplus.

    Parameters
    ----------
    pods
        All pods of the present attempt.
    """
    if job.spec is None or job.spec.elastic is None:
        return pods
    names = {worker.name for worker in cluster_layout(job, job.status.pod_attempt).workers}
    return tuple(pod for pod in pods if pod.name in names)


def enough_run(spec: JobSpec, roles: Iterable[RoleStatus], pods: Iterable[PodState]) -> bool:
    """Return whether so many workers run, or have succeeded, that the job does.

    An elastic job does with few, but not without index 0, where its workers meet.
    """
    if spec.elastic is None:
        return all(role.ready + role.succeeded >= role.desired for role in roles)
    least = spec.elastic.min_workers
    has_leader = any(pod.index == 0 and (pod.running or pod.succeeded) for pod in pods)
    return has_leader and all(role.ready + role.succeeded >= min(role.desired, least) for role in roles)


def failed_by_itself(pod: PodState) -> bool:
    """Whether a pod's end was the program's own doing, rather than that of who took the pod away."""
    end = pod.terminated
    if end is None or pod.succeeded or pod.was_released or pod.disruption is not None or pod.deleting:
        return False
    told = end.message.failure if end.message is not None else None
    if Reason.OOM_KILLED in {end.reason, told.type if told is not None else ""}:
        return True
    if told is None:
        return end.exit_code != KILLED  # an agent that was killed had no time for a word
    return told.kind in OWN_FAILURES


def has_succeeded(layout: Layout, pods: tuple[PodState, ...], done: frozenset[Place]) -> bool:
    """Whether the leader has succeeded, and of the others none still runs and none has failed by itself.

    The leader's agent stays until all others have ended that it knows; who was lost, could not be placed or
    came too late did not miss anything.
    """
    others = [pod for pod in pods if pod.place not in done]
    ended = all(pod.is_over or pod.is_lost or not pod.running for pod in others)
    return ended and layout.leader.place in done and not any(_has_spoilt(pod) for pod in others)


def _has_spoilt(pod: PodState) -> bool:
    """Whether a worker failed that had a part in the training."""
    message = pod.terminated.message if pod.terminated is not None else None
    kind = message.failure.type if message is not None and message.failure is not None else ""
    return failed_by_itself(pod) and kind != FailureType.PEERS_ABSENT


def latecomers(job: Job, pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods of an elastic job that would start when all is over, whatever ``cleanPods`` says."""
    assert job.spec is not None
    return refs(pod for pod in pods if job.spec.elastic is not None and not pod.is_over and not pod.running)


def goes_on_without(job: Job, refusal: Refusal, pods: tuple[PodState, ...]) -> bool:
    """Whether an elastic job does with the workers that it has, when a further one is refused."""
    assert job.spec is not None
    if job.spec.elastic is None or refusal.object_kind != "Pod":
        return False
    if refusal.kind not in {RefusalKind.FORBIDDEN, RefusalKind.TERMINATING} and not job.status.running_time:
        return False
    there = [pod for pod in present_pods(job, pods) if not pod.is_over and not pod.deleting]
    return len(there) >= job.spec.elastic.min_workers and any(pod.index == 0 for pod in there)


def replacements(
    job: Job, layout: Layout, pods: tuple[PodState, ...], done: frozenset[Place], *, now: float
) -> Replacements | None:
    """Decide who is replaced; None if the attempt can't go on so.

    Parameters
    ----------
    pods
        The pods of the present attempt that are wanted.
    done
        The workers that have succeeded.
    """
    spec, status = job.spec, job.status
    assert spec is not None
    elastic = spec.elastic
    if elastic is None or status.running_time is None:
        return None
    counts = dict(status.replaced or {})
    lost = [
        pod
        for pod in pods
        if (pod.is_over or pod.deleting) and pod.place not in done and not pod.was_released
    ]
    if not lost:
        return Replacements(counts)
    running = sum(pod.running and not pod.is_over and not pod.deleting for pod in pods) + len(done)
    if any(pod.place == layout.leader.place for pod in lost) or running < elastic.min_workers:
        return None
    if layout.leader.place in done:
        return None if any(_has_spoilt(pod) for pod in lost) else Replacements(counts)
    failures: list[Failure] = []
    said: list[str] = []
    waits: list[float] = []
    for pod in lost:
        times = counts.get(str(pod.index), 0)
        end = first_failure([pod])
        own = failed_by_itself(pod)
        if own and end is not None:
            done_before = status.restarts.model_copy(
                update={"failures": status.restarts.failures + len(failures)}
            )
            verdict = judge(
                end.failure,
                spec.restart,
                done_before,
                disruption=False,
                progressed=progressed(status, now),
                seed=f"{job.uid}/{status.attempt}",
            )
            if not verdict.again:
                return None
        seen = pod.terminated.seen if pod.terminated is not None else pod.deleting_seen
        # The first comes at once, and whoever follows it takes its time: something ends it each time.
        wait = backoff(spec.restart.backoff_seconds, times - 1, f"{job.uid}/{pod.index}") if times else 0.0
        left = seen + wait - now
        if left > 0:
            waits.append(left)
            continue
        counts[str(pod.index)] = times + 1
        if own and end is not None:
            failures.append(end.failure)
        why = sentence(end.failure) if end is not None else f"pod {pod.name} is being deleted"
        said.append(f"worker {pod.index} is replaced: {why}")
    return Replacements(counts, tuple(failures), "; ".join(said), min(waits, default=None))
