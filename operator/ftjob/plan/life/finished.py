"""A job that has ended: what is still cleaned up, and when the job itself goes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.defaults import success_of
from ftjob.api.job import Job
from ftjob.models.spec import SuccessPolicy
from ftjob.models.status import ConditionType
from ftjob.models.times import unix
from ftjob.plan.life.deletion import refs, to_clean
from ftjob.plan.life.elastic import failed_by_itself, latecomers
from ftjob.plan.plan import Changes, Plan, Step
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.state import Observed


def is_at_rest(job: AnyJob) -> bool:
    """Whether the job is finished; an invalid spec that was edited since gets another chance."""
    if job.status.phase is None or not job.status.phase.is_final:
        return False
    failed = job.status.condition(ConditionType.FAILED)
    invalid = failed is not None and failed.status == "True" and failed.reason == Reason.INVALID_SPEC
    return not (invalid and job.generation > (job.status.observed_generation or 0))


def rest(job: AnyJob, observed: Observed, *, now: float) -> Plan:
    """Clean up after a job that has ended, and at last the job itself."""
    older = refs(pod for pod in observed.pods if pod.attempt != job.status.pod_attempt)
    last = to_clean(job, observed.pods_of(job.status.pod_attempt))
    plan = Plan(Step.REST, changes=Changes(delete=(*older, *last)))
    ttl = job.spec.ttl_seconds_after_finished if isinstance(job, Job) else None
    # A copy that went before its end was seen would run again: MultiKueue takes it for lost.
    if ttl is None or job.status.completion_time is None or job.is_copy:
        return plan
    left = unix(job.status.completion_time) + ttl - now
    if left > 0:
        return replace(plan, next_look=left)
    return replace(plan, changes=replace(plan.changes, delete_job=True))


def has_succeeded(attempt: Attempt) -> bool:
    """Whether the workers whose success is the job's have succeeded."""
    if success_of(attempt.spec) is not SuccessPolicy.ALL_WORKERS:
        return attempt.layout.leader.place in attempt.done
    if attempt.spec.elastic is None:
        return all(worker.place in attempt.done for worker in attempt.layout.workers)
    return _elastic_has_succeeded(attempt)


def _elastic_has_succeeded(attempt: Attempt) -> bool:
    """Whether the leader has succeeded, and of the others none still runs and none has failed by itself.

    The leader's agent stays until all others have ended that it knows. A worker that was lost, could not be
    placed or came too late did not miss anything.
    """
    others = [pod for pod in attempt.pods if pod.place not in attempt.done]
    ended = all(pod.is_over or pod.is_lost or not pod.running for pod in others)
    leader = attempt.layout.leader.place
    return ended and leader in attempt.done and not any(failed_by_itself(pod) for pod in others)


def succeed(attempt: Attempt) -> Plan:
    """End the job, and with it what nobody needs any more."""
    useless = (
        *refs(attempt.older_pods),
        *refs(attempt.surplus),
        *latecomers(attempt),
        *to_clean(attempt.job, attempt.pods),
    )
    ends = (pod.terminated.message for pod in attempt.ranked_pods if pod.succeeded and pod.terminated)
    warning = next((message.warning for message in ends if message is not None and message.warning), "")
    return Plan(
        Step.SUCCEED,
        reason=Reason.EXCEPTION_SURVIVED if warning else "",
        message=warning,
        changes=Changes(delete=tuple(dict.fromkeys(useless))),
    )
