"""Kueue's Workload as it is read: whether it is admitted, evicted, over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ftjob.models.manifest import conditions_of, items, mapping
from ftjob.models.resources import amounts_of

AGENTS_CONTAINER = "ftjob-agent"
"""The init container by which earlier versions brought the agent: their Workloads have it."""


@dataclass(frozen=True)
class PodSet:
    """A pod set of a Workload: so many pods, and what each asks for in all, in thousandths.

    Without the agent's part, which the operators of two clusters may see differently.
    """

    name: str
    count: int
    requests: tuple[tuple[str, int], ...] = ()


def read_pod_set(raw: dict[str, Any]) -> PodSet:
    """Read a pod set as it is in a Workload."""
    spec = mapping(raw, "template", "spec")
    before = [c for c in items(spec, "initContainers") if c.get("name") != AGENTS_CONTAINER]
    amounts = amounts_of({**spec, "initContainers": before})
    return PodSet(str(raw.get("name")), int(raw.get("count", 1)), tuple(sorted(amounts.items())))


@dataclass(frozen=True)
class WorkloadState:
    """A job's Workload of Kueue."""

    api_version: str
    name: str
    uid: str
    resource_version: str = field(compare=False)
    deleting: bool = False
    active: bool = True
    queue: str = ""
    pod_sets: tuple[PodSet, ...] = ()
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """Its conditions by type."""
        return conditions_of(self.status)

    def condition(self, condition_type: str) -> bool:
        """Whether a condition is true."""
        return self.conditions.get(condition_type, {}).get("status") == "True"

    @property
    def is_admitted(self) -> bool:
        """Whether the job may run."""
        over = self.condition("Evicted") or self.condition("Finished") or not self.active or self.deleting
        return self.condition("Admitted") and bool(self.status.get("admission")) and not over


def read_workload(raw: dict[str, Any]) -> WorkloadState:
    """Read a Workload as the API server gives it."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    return WorkloadState(
        api_version=raw["apiVersion"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        deleting="deletionTimestamp" in meta,
        active=spec.get("active", True),
        queue=spec.get("queueName", ""),
        pod_sets=tuple(read_pod_set(found) for found in items(spec, "podSets")),
        status=raw.get("status") or {},
    )


def assignments(workload: WorkloadState) -> list[dict[str, Any]]:
    """Return what Kueue has assigned to each pod set."""
    return items(mapping(workload.status, "admission"), "podSetAssignments")
