"""The leaders' states: what the agent of index 0 last said about its whole job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.observed.state import LeaderReport


class LeaderStates:
    """The last state of each job's leader, by the job's UID."""

    def __init__(self) -> None:
        self._states: dict[str, LeaderReport] = {}

    def update(self, job: Job, state: LeaderReport) -> bool:
        """Remember a leader's state; return whether it differs from the last one."""
        news = self._states.get(job.uid) != state
        self._states[job.uid] = state
        return news

    def drop(self, job: Job) -> None:
        """Forget a job that is gone."""
        self._states.pop(job.uid, None)

    def of(self, job: Job) -> LeaderReport | None:
        """Return what the job's leader last said, if anything."""
        return self._states.get(job.uid)
