"""What can go wrong between a user and a cluster. Each text says what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import ConditionType

if TYPE_CHECKING:
    from ftjob.models.status import Failure, JobStatus


class ClusterError(Exception):
    """The cluster can't be asked, or refuses."""


class Refused(ClusterError):  # noqa: N818
    """The cluster doesn't know the user, or doesn't let him do this: to ask again is of no use."""


class NotFound(ClusterError):  # noqa: N818  # what a user reads in a traceback
    """There is no such object."""


class NoSuchJob(NotFound):
    """There is no such job."""


class Forbidden(Refused):
    """The cluster knows who asks, and does not allow it."""


class NotServed(ClusterError):  # noqa: N818
    """The cluster has no such kind of object."""


class Conflict(ClusterError):  # noqa: N818
    """Somebody else was faster: the name is taken, or the job has changed meanwhile."""


class JobInvalid(Exception):  # noqa: N818
    """The job can't be what it says; each line of the text names a field and the remedy."""


class JobFailed(Exception):  # noqa: N818
    """A job has ended as Failed.

    Parameters
    ----------
    name
        The job's name.
    status
        Its last status.
    """

    def __init__(self, name: str, status: JobStatus) -> None:
        self.status = status
        failed = status.condition(ConditionType.FAILED)
        why = self.failure.message.strip().splitlines()[-1:] if self.failure is not None else []
        text = why[0] if why else (failed.message or failed.reason) if failed is not None else ""
        super().__init__(f"{name} failed: {text}" if text else f"{name} failed")

    @property
    def failure(self) -> Failure | None:
        """The first failing rank, where one is known."""
        return self.status.failure
