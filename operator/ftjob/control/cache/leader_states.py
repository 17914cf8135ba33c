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
        self._unreached: dict[str, str] = {}

    def update(self, job: JobHead, state: LeaderState) -> bool:
        """Remember a leader's state; return whether it differs from the last one."""
        news = self._states.get(job.uid) != state
        self._states[job.uid] = state
        self._unreached.pop(job.uid, None)
        return news

    def miss(self, job: JobHead, why: str) -> bool:
        """Remember why a leader could not be asked; return whether that is new."""
        news = self._unreached.get(job.uid) != why
        self._unreached[job.uid] = why
        return news

    def why_unreached(self, job: JobHead) -> str:
        """Return why the job's leader could not be asked, if it could not."""
        return self._unreached.get(job.uid, "")

    def drop(self, job: JobHead) -> None:
        """Forget a job that is gone."""
        self._states.pop(job.uid, None)
        self._unreached.pop(job.uid, None)

    def of(self, job: JobHead) -> LeaderState | None:
        """Return what the job's leader last said, if anything."""
        return self._states.get(job.uid)
