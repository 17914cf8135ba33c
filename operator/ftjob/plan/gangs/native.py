"""Kubernetes' own gang scheduling (KEP-4671): beta, and off by default, in 1.37; alpha in 1.36."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.models.manifest import items
from ftjob.models.names import NATIVE_GANGS
from ftjob.models.spec import GangMode
from ftjob.plan.gangs.base import Gang, priority_class

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import NewObject

WITHOUT_PRIORITY = "scheduling.k8s.io/v1alpha2"
"""There the group's priority and its way of disruption belong to a feature gate of their own."""

PLACED = ("PodGroupInitiallyScheduled", "PodGroupScheduled")
"""The condition's name in 1.37 and in 1.36."""


class Native(Gang):
    """A PodGroup of scheduling.k8s.io; pods name it in their spec."""

    mode: ClassVar[GangMode] = GangMode.NATIVE
    versions: ClassVar[tuple[str, ...]] = NATIVE_GANGS
    missing: ClassVar[str] = "this cluster does not serve Kubernetes' own gang scheduling"
    remedy: ClassVar[str] = (
        "set scheduling.gang to Auto or Off, or have the feature gate GenericWorkload and the API "
        "scheduling.k8s.io/v1beta1 enabled (Kubernetes 1.37; v1alpha2 in 1.36)"
    )

    def group_spec(self, job: Job, version: str, count: int, pods: tuple[NewObject, ...]) -> dict[str, Any]:
        """Return a gang of so many pods, which is preempted as a whole unless it is elastic."""
        spec: dict[str, Any] = {"schedulingPolicy": {"gang": {"minCount": count}}}
        if version == WITHOUT_PRIORITY:
            return spec
        if job.spec.elastic is None:
            spec["disruptionMode"] = {"all": {}}
        priority = priority_class(pods)
        if priority:
            spec["priorityClassName"] = priority
        return spec

    def join(self, pod: Manifest, group: str) -> None:
        """Name the group in the pod's spec."""
        pod["spec"]["schedulingGroup"] = {"podGroupName": group}

    def waiting(self, group: dict[str, Any]) -> str | None:
        """Return the words of the condition that says whether the gang was placed."""
        for condition in items(group.get("status"), "conditions"):
            if condition.get("type") in PLACED and condition.get("status") == "False":
                return f"{condition.get('reason') or 'Unschedulable'}: {condition.get('message', '')}"
        return None
