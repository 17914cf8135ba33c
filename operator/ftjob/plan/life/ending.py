"""How an attempt ends: with another one, with the job, or not yet. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.job import Job
from ftjob.models.times import unix
from ftjob.plan.decision import Plan, Step
from ftjob.plan.life.deletion import refs, to_clean, to_replace
from ftjob.plan.life.first_failure import CULPRIT_SECONDS, EVIDENCE_SECONDS, End, first_failure, sentence
from ftjob.plan.life.record import progressed
from ftjob.plan.life.restart import judge
from ftjob.plan.observed.pod import PodState

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.observed.pod import PodState


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


def rest(job: Job, pods: tuple[PodState, ...], *, now: float) -> Plan:
    """Clean up after a job that has ended, and at last the job itself."""
    older = refs(pod for pod in pods if pod.attempt != job.status.pod_attempt)
    last = tuple(pod for pod in pods if pod.attempt == job.status.pod_attempt)
    decision = Plan(Step.REST, delete=(*older, *to_clean(job, last)))
    ttl = job.spec.ttl_seconds_after_finished if job.spec is not None else None
    # A copy that went before its end was seen would run again: MultiKueue takes it for lost.
    if ttl is None or job.status.completion_time is None or job.is_copy:
        return decision
    left = unix(job.status.completion_time) + ttl - now
    return replace(decision, next_look=left) if left > 0 else replace(decision, delete_job=True)
