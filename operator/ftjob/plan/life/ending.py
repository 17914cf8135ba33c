"""How an attempt ends: with another one, with the job, or not yet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import Failure, Phase
from ftjob.models.times import unix
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
from ftjob.plan.observed.why_waiting import MEETING_NOTICE_SECONDS, is_waiting, who_is_absent
from ftjob.plan.plan import Changes, ForStatus, Plan, Step
from ftjob_protocol.failures import FailureClass
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt

MEETING_SECONDS = 600.0
"""How long the agents of pods that all run may take to meet: longer than any node's or network's trouble that
ends by itself. Pods that do not run yet are waited for as Kubernetes does."""


def after_failures(attempt: Attempt) -> Plan:
    """End the attempt, once the other workers have had the time to say what happened to them."""
    seen = [pod.terminated.seen for pod in attempt.failed if pod.terminated is not None]
    seen += [pod.lost_seen for pod in attempt.failed if pod.is_lost]
    end = first_failure(attempt.failed)
    assert end is not None
    patience = CULPRIT_SECONDS if end.is_consequence else EVIDENCE_SECONDS
    if end.failure.reason in {FailureClass.PEER_LOST, FailureClass.STOPPED}:
        # The rank that has failed may go on for a while after its exception; these did not wait for it.
        patience += attempt.spec.exception_grace_seconds
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


def after_waiting(attempt: Attempt) -> Plan | None:
    """End the attempt if all its pods run, and its agents have not met for too long."""
    left = until_meeting_ends(attempt)
    if left is None or left > 0:
        return None
    who, pod = who_is_absent(attempt.ranked_pods, attempt.observed)
    failure = Failure(
        role=pod.role if pod is not None else None,
        index=pod.index if pod is not None else None,
        pod=pod.name if pod is not None else None,
        node=pod.node if pod is not None else None,
        reason=Reason.PEERS_ABSENT,
        message=f"all workers run, but {who} in {MEETING_SECONDS:.0f} s; "
        "look for what keeps pods from each other",
    )
    return end_of_attempt(attempt, End(failure, disruption=True))


def looks_while_waiting(attempt: Attempt) -> tuple[float, ...]:
    """Return when agents whose pods all run have waited so long for each other that it matters."""
    since = attempt.status.running_time
    if since is None or attempt.status.phase is not Phase.STARTING:
        return ()
    left = until_meeting_ends(attempt)
    looks = (unix(since) + MEETING_NOTICE_SECONDS - attempt.now, *([left] if left is not None else []))
    return tuple(look for look in looks if look > 0)


def until_meeting_ends(attempt: Attempt) -> float | None:
    """Return for how long agents whose pods all run may still wait for each other; None if they do not."""
    status = attempt.status
    if status.running_time is None or not is_waiting(attempt.observed, status):
        return None
    return unix(status.running_time) + MEETING_SECONDS - attempt.now


def end_of_attempt(attempt: Attempt, end: End) -> Plan:
    """Have another attempt follow, or the job end."""
    job, status, spec, failure = attempt.job, attempt.status, attempt.spec, end.failure
    ends = (pod.terminated.seen for pod in attempt.failed if pod.terminated is not None)
    restart = judge(
        failure,
        spec.restart,
        status.restarts,
        disruption=end.disruption,
        progressed=progressed(status, attempt.now),
        lived=attempt.lived(min(ends, default=attempt.now)),
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
