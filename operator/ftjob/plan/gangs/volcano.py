"""Volcano's gangs (volcano.sh/docs/podgroup): a queue of its own, and a scheduler of its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.models.manifest import conditions_of
from ftjob.models.names import VOLCANO_GANGS
from ftjob.models.resources import requests_of
from ftjob.models.spec import GangMode
from ftjob.plan.gangs.base import Gang, priority_class

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import NewObject

SCHEDULER = "volcano"
GROUP_ANNOTATION = "scheduling.k8s.io/group-name"
REFUSED, PLACED = "Unschedulable", "Scheduled"


class Volcano(Gang):
    """A PodGroup of scheduling.volcano.sh; pods name it in an annotation."""

    mode: ClassVar[GangMode] = GangMode.VOLCANO
    versions: ClassVar[tuple[str, ...]] = VOLCANO_GANGS
    missing: ClassVar[str] = "this cluster does not serve Volcano's PodGroup (scheduling.volcano.sh/v1beta1)"
    remedy: ClassVar[str] = "install Volcano, or set scheduling.gang to Auto or Off"

    def group_spec(self, job: Job, version: str, count: int, pods: tuple[NewObject, ...]) -> dict[str, Any]:
        """Return a gang of so many pods in the job's queue, with what they ask for together."""
        spec: dict[str, Any] = {"minMember": count}
        if job.spec.scheduling.queue is not None:
            spec["queue"] = job.spec.scheduling.queue
        priority = priority_class(pods)
        if priority:
            spec["priorityClassName"] = priority
        if pods:
            numbers = Counter(pod.role for pod in pods[:count])
            first = {pod.role: pod for pod in reversed(pods)}
            spec["minResources"] = requests_of((first[role].build(), n) for role, n in numbers.items())
        return spec

    def join(self, pod: Manifest, group: str) -> None:
        """Name the group, and Volcano's scheduler unless the template names another."""
        pod["metadata"]["annotations"][GROUP_ANNOTATION] = group
        pod["spec"].setdefault("schedulerName", SCHEDULER)

    def waiting(self, group: dict[str, Any]) -> str | None:
        """Return the words of its condition Unschedulable, or that the queue has not let it in."""
        status = group.get("status") or {}
        conditions = conditions_of(status)
        refused, placed = conditions.get(REFUSED, {}), conditions.get(PLACED, {})
        times = [str(c.get("lastTransitionTime", "")) for c in (refused, placed)]
        phase = status.get("phase")
        if refused.get("status") == "True" and times[0] >= times[1] and phase != "Running":
            return f"{REFUSED}: {refused.get('message', '')}"
        if phase == "Pending":
            queue = (group.get("spec") or {}).get("queue") or "default"
            return f"Pending: Volcano's queue {queue} has not let it in yet"
        return None
