"""What a gang scheduler is told: a PodGroup, and which pods belong to it. And what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.models.manifest import mapping

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.manifest import Manifest
    from ftjob.models.spec import GangMode
    from ftjob.plan.plan import NewObject


class Gang(ABC):
    """One gang scheduler. Each has a kind PodGroup in an API group of its own."""

    mode: ClassVar[GangMode]
    versions: ClassVar[tuple[str, ...]]
    """API versions whose PodGroup it understands, best first."""
    missing: ClassVar[str]
    """What to tell whoever asks for it where it isn't there."""
    remedy: ClassVar[str]

    @abstractmethod
    def group_spec(self, job: Job, version: str, count: int, pods: tuple[NewObject, ...]) -> dict[str, Any]:
        """Return the spec of a PodGroup.

        Parameters
        ----------
        version
            The API version that is used.
        count
            How many pods have to be placed together.
        pods
            The pods that will be created.
        """

    @abstractmethod
    def join(self, pod: Manifest, group: str) -> None:
        """Write into a new pod that it belongs to a PodGroup."""

    @abstractmethod
    def waiting(self, group: dict[str, Any]) -> str | None:
        """Return why a PodGroup is not placed (``Unschedulable: …``), if it says so."""


def priority_class(pods: tuple[NewObject, ...]) -> str | None:
    """Return the priority class of a gang: that of its first pod."""
    name = mapping(pods[0].build(), "spec").get("priorityClassName") if pods else None
    return str(name) if name else None
