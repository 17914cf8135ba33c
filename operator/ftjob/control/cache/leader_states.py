"""The leaders' states: what the agent of index 0 last said about its whole job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.api.job import JobHead
    from ftjob_protocol.leader_state import LeaderState


class LeaderStates:
    """The last state of each job's leader, by the job's UID."""

    def __init__(self) -> None:
        self._states: dict[str, LeaderState] = {}

    def update(self, job: JobHead, state: LeaderState) -> bool:
        """Remember a leader's state; return whether it differs from the last one."""
        news = self._states.get(job.uid) != state
        self._states[job.uid] = state
        return news

    def drop(self, job: JobHead) -> None:
        """Forget a job that is gone."""
        self._states.pop(job.uid, None)

    def of(self, job: JobHead) -> LeaderState | None:
        """Return what the job's leader last said, if anything."""
        return self._states.get(job.uid)
