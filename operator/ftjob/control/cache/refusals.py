"""Refusals: why the API server did not create an object of a job, and how often in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.api.job import JobHead
    from ftjob.plan.observed.state import Refusal


@dataclass(frozen=True)
class _Refused:
    refusal: Refusal
    generation: int
    """The job's, when it was refused."""
    times: int


class Refusals:
    """The last refusal of each job, by the job's UID."""

    def __init__(self) -> None:
        self._refused: dict[str, _Refused] = {}

    def add(self, job: JobHead, refusal: Refusal) -> None:
        """Remember why an object of the job was not created."""
        self._refused[job.uid] = _Refused(refusal, job.generation, self.times(job) + 1)

    def clear(self, job: JobHead) -> None:
        """Forget the refusals of a job: everything was created, or the job is gone."""
        self._refused.pop(job.uid, None)

    def clear_if_edited(self, job: JobHead) -> None:
        """Forget the refusals of a job if its spec has changed since."""
        refused = self._refused.get(job.uid)
        if refused is not None and refused.generation != job.generation:
            self.clear(job)

    def last(self, job: JobHead) -> Refusal | None:
        """Return the job's last refusal, unless everything was created since."""
        refused = self._refused.get(job.uid)
        return refused.refusal if refused else None

    def times(self, job: JobHead) -> int:
        """Return how many refusals in a row the job has met."""
        refused = self._refused.get(job.uid)
        return refused.times if refused else 0
