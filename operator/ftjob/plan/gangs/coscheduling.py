"""The coscheduling plugin of kubernetes-sigs/scheduler-plugins, in whichever scheduler runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.models.names import COSCHEDULING_GANGS
from ftjob.models.spec import GangMode
from ftjob.plan.gangs.base import Gang

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import NewObject

GROUP_LABEL = "scheduling.x-k8s.io/pod-group"


class Coscheduling(Gang):
    """A PodGroup of scheduling.x-k8s.io; pods name it in a label."""

    mode: ClassVar[GangMode] = GangMode.COSCHEDULING
    versions: ClassVar[tuple[str, ...]] = COSCHEDULING_GANGS
    missing: ClassVar[str] = (
        "this cluster does not serve the PodGroup of the coscheduling plugin (scheduling.x-k8s.io/v1alpha1)"
    )
    remedy: ClassVar[str] = "install kubernetes-sigs/scheduler-plugins, or set scheduling.gang to Auto or Off"

    def group_spec(self, job: Job, version: str, count: int, pods: tuple[NewObject, ...]) -> dict[str, Any]:
        """Return a gang of so many pods, each of which holds its place for as long as the job may start."""
        spec: dict[str, Any] = {"minMember": count}
        if job.spec.scheduling.timeout_seconds is not None:
            spec["scheduleTimeoutSeconds"] = job.spec.scheduling.timeout_seconds
        return spec

    def join(self, pod: Manifest, group: str) -> None:
        """Name the group; which scheduler has the plugin is the template's to say."""
        pod["metadata"]["labels"][GROUP_LABEL] = group

    def waiting(self, group: dict[str, Any]) -> str | None:
        """Return nothing: the plugin speaks through the pods' conditions."""
        return None
