"""How an attempt ends: with another one, with the job, or not yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.defaults import grace_seconds, template_of
from ftjob.api.spec import CleanPods
from ftjob.plan.decision import Plan, PodRef, Step
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
        delete=refs(pods) if verdict.again else to_clean(job, pods),
        reason=failure.reason,
        message=message,
        failure=failure,
        verdict=verdict,
        # Our own write is no news, and there may be no pod left whose end would be.
        next_look=0.0 if verdict.again else None,
    )


def give_up(job: Job, pods: tuple[PodState, ...], reason: str, message: str) -> Plan:
    """Fail a job whose pods may all be well; what still runs is stopped whatever ``cleanPods`` says."""
    stopped = tuple(pod for pod in pods if not pod.is_over)
    every = {ref.uid: ref for ref in (*refs(stopped), *to_clean(job, pods))}
    return Plan(Step.FAIL, delete=tuple(every.values()), reason=reason, message=message)


def progressed(status: JobStatus, now: float) -> bool:
    """Whether the job got on since its last restart."""
    step = status.progress.step if status.progress is not None else None
    if step is not None and step > (status.restarts.step or 0):
        return True
    return status.running_time is not None and now - unix(status.running_time) >= LONG_RUN_SECONDS


def may_still_run(
    job: Job, pod: PodState, observed: Observed, config: Config, *, agents: int, now: float
) -> bool:
    """Whether ranks of an earlier attempt's pod may still be alive.

    A pod on a lost node stays until the node comes back. Its ranks are dead all the same once the agents
    have been without each other for the contact time: then it is fenced. Where the pod was told to end
    before its node was lost, they have its grace period, whoever they miss. A pod that was alone has nobody
    to miss, and has to be waited for.
    """
    if pod.is_over:
        return False
    if not pod.is_lost or agents < 2:
        return True
    dead = observed.first_ends.get(pod.attempt, pod.lost_seen) + config.contact_timeout_seconds
    if pod.deleting_seen < pod.lost_seen:
        assert job.spec is not None
        dead = max(dead, pod.deleting_seen + grace_seconds(template_of(job.spec, pod.role)))
    return now < dead + FENCE_MARGIN_SECONDS


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
