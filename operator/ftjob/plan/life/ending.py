"""How an attempt ends: with another one, with the job, or not yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.plan.life.attempt import progressed
from ftjob.plan.life.deletion import refs, to_clean, to_replace
from ftjob.plan.life.first_failure import (
    CULPRIT_SECONDS,
    EVIDENCE_SECONDS,
    End,
    first_failure,
    sentence,
    vanished,
)
from ftjob.plan.life.restart import judge
from ftjob.plan.plan import Changes, ForStatus, Plan, Step

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt


def after_failures(attempt: Attempt) -> Plan:
    """End the attempt, once the other workers have had the time to say what happened to them."""
    seen = [pod.terminated.seen for pod in attempt.failed if pod.terminated is not None]
    seen += [pod.lost_seen for pod in attempt.failed if pod.is_lost]
    end = first_failure(attempt.failed)
    assert end is not None
    patience = CULPRIT_SECONDS if end.is_consequence else EVIDENCE_SECONDS
    left = min(seen, default=0.0) + patience - attempt.now
    if left > 0 and not all(pod.is_over for pod in attempt.every_pod):
        return Plan(Step.CONTINUE, next_look=left)
    return end_of_attempt(attempt, end)


def after_vanishing(attempt: Attempt) -> Plan | None:
    """End the attempt if a worker that had been running is gone, and nobody saw what became of it."""
    status = attempt.status
    if not attempt.missed or not (attempt.has_run or status.pod_attempt < status.attempt):
        return None
    lost = attempt.missed[0]
    return end_of_attempt(attempt, vanished(lost.name, lost.role, lost.index))


def end_of_attempt(attempt: Attempt, end: End) -> Plan:
    """Have another attempt follow, or the job end."""
    job, status, spec, failure = attempt.job, attempt.status, attempt.spec, end.failure
    restart = judge(
        failure,
        spec.restart,
        status.restarts,
        disruption=end.disruption,
        progressed=progressed(status, attempt.now),
        seed=f"{job.uid}/{status.attempt}",
    )
    message = sentence(failure)
    if restart.again or spec.restart.limit or end.disruption:
        message += f" ({restart.why})"
    pods = attempt.every_pod
    return Plan(
        Step.RESTART if restart.again else Step.FAIL,
        reason=failure.reason,
        message=message,
        changes=Changes(delete=to_replace(pods) if restart.again else to_clean(job, pods)),
        status=ForStatus(failure=failure, restart=restart),
        # Our own write is no news, and there may be no pod left whose end would be.
        next_look=0.0 if restart.again else None,
    )


def give_up(attempt: Attempt, reason: str, message: str) -> Plan:
    """Fail a job whose pods may all be well; what still runs is stopped whatever ``cleanPods`` says."""
    number, pods = attempt.status.pod_attempt, attempt.observed.pods
    useless = tuple(pod for pod in pods if not pod.is_over or pod.attempt != number)
    delete = tuple(dict.fromkeys((*refs(useless), *to_clean(attempt.job, pods))))
    return Plan(Step.FAIL, reason=reason, message=message, changes=Changes(delete=delete))
