"""The conditions of a job, with their reasons and their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import Condition, ConditionType, JobStatus, Phase
from ftjob.plan.observed.why_waiting import who_runs
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.decision import Plan
    from ftjob.plan.observed.state import Observed

ADMITTED: tuple[ConditionType, str, str, str] = (
    ConditionType.ADMITTED,
    "True",
    Reason.ADMITTED,
    "the job may run",
)


def _conditions(job: Job, stamp: str, *found: tuple[ConditionType, str, str, str]) -> list[Condition]:
    """Return conditions from (type, status, reason, message).

    The transition time of a condition stands still while its status does.
    """
    old = {condition.type: condition for condition in job.status.conditions}
    return [
        Condition(
            type=kind,
            status=value,
            reason=reason,
            message=message,
            last_transition_time=(
                old[kind].last_transition_time if kind in old and old[kind].status == value else stamp
            ),
            observed_generation=job.generation,
        )
        for kind, value, reason, message in found
    ]


def _life(
    job: Job, observed: Observed, decision: Plan, phase: Phase, waits: tuple[str, str]
) -> list[tuple[ConditionType, str, str, str]]:
    """Return what the conditions of a started job say."""
    ended = (ConditionType.RUNNING, "False", Reason.FINISHED, "the job has ended")
    if phase is Phase.SUCCEEDED:
        return [
            ADMITTED,
            ended,
            (ConditionType.SUCCEEDED, "True", Reason.SUCCEEDED, "all workers that count have succeeded"),
            (ConditionType.FINISHED, "True", Reason.SUCCEEDED, "the job has succeeded"),
        ]
    if phase is Phase.FAILED:
        return [
            ADMITTED,
            ended,
            (ConditionType.FAILED, "True", decision.reason, decision.message),
            (ConditionType.FINISHED, "True", Reason.FAILED, decision.message),
        ]
    if phase is Phase.RUNNING:
        return [ADMITTED, (ConditionType.RUNNING, "True", *who_runs(job, observed))]
    # A restart is over when all workers run again.
    old = {condition.type: condition for condition in job.status.conditions}
    restarting = old.get(ConditionType.RESTARTING)
    found = [ADMITTED, (ConditionType.RUNNING, "False", *waits), *_resumed(job.status)]
    if restarting is not None:
        found.append((ConditionType.RESTARTING, "True", restarting.reason, restarting.message))
    return found


def _resumed(status: JobStatus) -> list[tuple[ConditionType, str, str, str]]:
    """Return the condition that takes back an earlier suspension, if there was one."""
    if all(condition.type is not ConditionType.SUSPENDED for condition in status.conditions):
        return []
    return [(ConditionType.SUSPENDED, "False", Reason.RESUMED, "spec.suspend is false")]
