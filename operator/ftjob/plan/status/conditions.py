"""The conditions of a job, with their reasons and their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import Condition, ConditionType, JobStatus, Phase
from ftjob.models.times import unix
from ftjob.plan.observed.why_waiting import who_runs, who_waits, why_not_running
from ftjob_protocol.reasons import Reason
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from ftjob.api.job import JobHead
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.plan import Plan

ADMITTED: tuple[ConditionType, str, str, str] = (
    ConditionType.ADMITTED,
    "True",
    Reason.ADMITTED,
    "the job may run",
)


Said = tuple[ConditionType, str, str, str]
"""What a condition says: type, status, reason, message."""

REASON_BYTES = 128
"""As much as an Event of the same reason may have."""
MESSAGE_BYTES = 4096


def conditions(job: JobHead, stamp: str, *said: Said) -> list[Condition]:
    """Return conditions; the transition time of one stands still while its status does."""
    found = []
    for kind, value, reason, message in said:
        old = job.status.condition(kind)
        since = old.last_transition_time if old is not None and old.status == value else stamp
        found.append(
            Condition(
                type=kind,
                status=value,
                reason=clean(reason, REASON_BYTES),
                message=clean(message, MESSAGE_BYTES),
                last_transition_time=since,
                observed_generation=job.generation,
            )
        )
    return found


def of_attempt(attempt: Attempt, plan: Plan, phase: Phase, *, all_run: bool) -> list[Said]:
    """Return what the conditions of a started job say.

    Parameters
    ----------
    all_run
        Whether all pods run, or have: then it is their agents that are waited for.
    """
    ended = (ConditionType.RUNNING, "False", Reason.FINISHED, "the job has ended")
    if phase is Phase.SUCCEEDED:
        how = "all workers that count have succeeded" + (f"; {plan.message}" if plan.message else "")
        return [
            ADMITTED,
            ended,
            (ConditionType.SUCCEEDED, "True", Reason.SUCCEEDED, how),
            (ConditionType.FINISHED, "True", Reason.SUCCEEDED, "the job has succeeded"),
        ]
    if phase is Phase.FAILED:
        return [
            ADMITTED,
            ended,
            (ConditionType.FAILED, "True", plan.reason, plan.message),
            (ConditionType.FINISHED, "True", Reason.FAILED, plan.message),
        ]
    if phase is Phase.RUNNING:
        return [ADMITTED, (ConditionType.RUNNING, "True", *who_runs(attempt.job, attempt.observed))]
    since = attempt.status.running_time
    if all_run:
        waited = attempt.now - unix(since) if since is not None else 0.0
        waits = who_waits(attempt.ranked_pods, attempt.observed, attempt.status, waited=waited)
    else:
        waits = why_not_running(attempt.ranked_pods, attempt.observed.groups)
    said = [ADMITTED, (ConditionType.RUNNING, "False", *waits), *resumed(attempt.status)]
    # A restart is over when all workers run again.
    restarting = attempt.status.condition(ConditionType.RESTARTING)
    if restarting is not None:
        said.append((ConditionType.RESTARTING, "True", restarting.reason, restarting.message))
    return said


def resumed(status: JobStatus) -> list[Said]:
    """Return the condition that takes back an earlier suspension, if there was one."""
    if status.condition(ConditionType.SUSPENDED) is None:
        return []
    return [(ConditionType.SUSPENDED, "False", Reason.RESUMED, "spec.suspend is false")]
