"""How an attempt ends: with another one, with the job, or not yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.defaults import grace_seconds, template_of
from ftjob.api.spec import CleanPods
from ftjob.plan.decision import Plan, PodRef, Step
from ftjob.plan.layout import cluster_layout
from ftjob.plan.outcome import CULPRIT_SECONDS, EVIDENCE_SECONDS, End, first_failure, sentence
from ftjob.plan.restart import judge
from ftjob.plan.times import unix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.api.job import Job
    from ftjob.api.status import JobStatus
    from ftjob.plan.decision import Config
    from ftjob.plan.observed import Observed, PodState

LONG_RUN_SECONDS = 600.0
"""An attempt that ran so long has got somewhere, also where nobody counts steps."""
FENCE_MARGIN_SECONDS = 5.0
ELASTIC_MARGIN_SECONDS = 12.0
"""The leader of an elastic job takes an agent for lost when its ranks are dead: seven seconds later."""


def after_failures(job: Job, pods: tuple[PodState, ...], failed: list[PodState], *, now: float) -> Plan:
    """End the attempt, once the other workers have had the time to say what happened to them."""
    seen = [pod.terminated.seen for pod in failed if pod.terminated is not None]
    seen += [pod.lost_seen for pod in failed if pod.is_lost]
    end = first_failure(failed)
    assert end is not None
    patience = CULPRIT_SECONDS if end.is_consequence else EVIDENCE_SECONDS
    left = min(seen, default=0.0) + patience - now
    if left > 0 and not all(pod.is_over for pod in pods):
        return Plan(Step.CONTINUE, next_look=left)
    return end_of_attempt(job, end, pods, now=now)


def end_of_attempt(job: Job, end: End, pods: tuple[PodState, ...], *, now: float) -> Plan:
    """Have another attempt follow, or the job end."""
    assert job.spec is not None
    status, failure = job.status, end.failure
    verdict = judge(
        failure,
        job.spec.restart,
        status.restarts,
        disruption=end.disruption,
        progressed=progressed(status, now),
        seed=f"{job.uid}/{status.attempt}",
    )
    message = sentence(failure)
    if verdict.again or job.spec.restart.limit or end.disruption:
        message += f" ({verdict.why})"
    return Plan(
        Step.RESTART if verdict.again else Step.FAIL,
        delete=to_replace(pods) if verdict.again else to_clean(job, pods),
        reason=failure.reason,
        message=message,
        failure=failure,
        verdict=verdict,
        # Our own write is no news, and there may be no pod left whose end would be.
        next_look=0.0 if verdict.again else None,
    )


def give_up(job: Job, pods: tuple[PodState, ...], reason: str, message: str) -> Plan:
    """Fail a job whose pods may all be well; what still runs is stopped whatever ``cleanPods`` says."""
    useless = tuple(pod for pod in pods if not pod.is_over or pod.attempt != job.status.pod_attempt)
    delete = tuple(dict.fromkeys((*refs(useless), *to_clean(job, pods))))
    return Plan(Step.FAIL, delete=delete, reason=reason, message=message)


def progressed(status: JobStatus, now: float) -> bool:
    """Whether the job got on since its last restart."""
    step = status.progress.step if status.progress is not None else None
    if step is not None and step > (status.restarts.step or 0):
        return True
    return status.running_time is not None and now - unix(status.running_time) >= LONG_RUN_SECONDS


def may_still_run(
    job: Job, pod: PodState, observed: Observed, config: Config, *, alone: bool, now: float
) -> bool:
    """Whether ranks of an earlier attempt's pod may still be alive.

    A pod on a lost node stays until the node comes back. Its ranks are dead all the same once its agent has
    missed another one for the contact time: then it is fenced. Ranks that were told to end, by the kubelet or
    because a peer was, have the pod's grace period. Where nobody is missed, the pod has to be waited for.

    Parameters
    ----------
    alone
        Whether the pods of its attempt on lost nodes miss nobody (`misses_others`).
    """
    if pod.is_over:
        return False
    if not pod.is_lost or alone:
        return True
    assert job.spec is not None
    grace = grace_seconds(template_of(job.spec, pod.role))
    missed = observed.last_ends.get(pod.attempt, pod.lost_seen) + max(config.contact_timeout_seconds, grace)
    margin = FENCE_MARGIN_SECONDS if job.spec.elastic is None else ELASTIC_MARGIN_SECONDS
    return now < max(missed, pod.deleting_seen + grace) + margin


def misses_others(job: Job, attempt: int, observed: Observed) -> bool:
    """Whether the pods of an attempt that are on lost nodes can't go on by themselves.

    They may all be well, and still see each other: nodes can be cut off together. A worker that has succeeded
    is not missed, but for the leader, which outlives all whom it hears. An elastic leader goes on with as few
    as ``minWorkers``.
    """
    assert job.spec is not None
    pods = [pod for pod in observed.pods if pod.attempt == attempt]
    layout = cluster_layout(job, attempt)
    if not any(pod.is_lost and pod.place == layout.leader.place for pod in pods):
        return True
    enough = job.spec.elastic.min_workers if job.spec.elastic is not None else len(layout.workers)
    recorded = (job.status.restarts.succeeded or {}).get(str(attempt), 0)
    succeeded = max(recorded, sum(pod.succeeded for pod in pods))
    return sum(pod.is_lost for pod in pods) + succeeded < enough


def to_replace(pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods that go before another attempt; while some are lost, not those that nobody misses."""
    some_are_lost = any(pod.is_lost for pod in pods)
    return refs(pod for pod in pods if not (some_are_lost and pod.succeeded))


def to_clean(job: Job, pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods that go when the job ends."""
    policy = job.spec.clean_pods if job.spec is not None else CleanPods.RUNNING
    if policy is CleanPods.ALL:
        return refs(pods)
    if policy is CleanPods.RUNNING:
        return refs(pod for pod in pods if not pod.is_over or pod.has_sidecars)
    return ()


def refs(pods: Iterable[PodState]) -> tuple[PodRef, ...]:
    """Return the pods that can be deleted and have not been yet."""
    return tuple(PodRef(pod.name, pod.uid) for pod in pods if not pod.gone and not pod.deleting)
