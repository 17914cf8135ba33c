"""The status of a job that was ended from outside: by a signal to ``ftjob run``, or by its time limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ftjob.models.status import Condition, ConditionType, JobStatus, Phase
from ftjob.plan.status.timeline import ended_from_outside


@dataclass(frozen=True)
class Ending:
    """Who ended the job."""

    reason: str
    message: str


def ended_by(status: JobStatus, ending: Ending, now: float) -> JobStatus:
    """Return the status of a failed job whose ranks did nothing wrong."""
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def condition(condition_type: ConditionType, value: str) -> Condition:
        return Condition(
            type=condition_type,
            status=value,
            reason=ending.reason,
            message=ending.message,
            last_transition_time=time,
        )

    changed = {
        ConditionType.RUNNING: condition(ConditionType.RUNNING, "False"),
        ConditionType.FAILED: condition(ConditionType.FAILED, "True"),
        ConditionType.FINISHED: condition(ConditionType.FINISHED, "True"),
    }
    kept = [c for c in status.conditions if c.type not in {*changed, ConditionType.SUCCEEDED}]
    return status.model_copy(
        update={
            "phase": Phase.FAILED,
            "conditions": [*kept, *changed.values()],
            "completion_time": status.completion_time or time,
            "timeline": ended_from_outside(status, now),
            "failure": None,
        }
    )
