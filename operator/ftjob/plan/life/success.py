"""When an attempt has succeeded, and which pods go then. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.defaults import success_of
from ftjob.models.spec import SuccessPolicy
from ftjob.plan.decision import Changes, Plan, Step
from ftjob.plan.life.deletion import refs, to_clean
from ftjob.plan.life.elastic import has_spoilt, latecomers

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt


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
    return ended and leader in attempt.done and not any(has_spoilt(pod) for pod in others)


def succeed(attempt: Attempt) -> Plan:
    """End the job, and with it what nobody needs any more."""
    useless = (
        *refs(attempt.older_pods),
        *refs(attempt.surplus),
        *latecomers(attempt),
        *to_clean(attempt.job, attempt.pods),
    )
    return Plan(Step.SUCCEED, changes=Changes(delete=tuple(dict.fromkeys(useless))))
