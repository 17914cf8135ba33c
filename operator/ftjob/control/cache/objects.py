"""The objects of one job beside its pods: which of them exist, and the state of PodGroups and Workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ftjob.models.names import POD_GROUP, WORKLOAD
from ftjob.plan.gangs.arrange import read_group
from ftjob.plan.observed.kueue_admission import WorkloadState, read_workload

if TYPE_CHECKING:
    from ftjob.kube.resources import Resource
    from ftjob.models.manifest import Manifest
    from ftjob.plan.observed.state import GroupState

    State = TypeVar("State", GroupState, WorkloadState)


class JobObjects:
    """The objects of one job."""

    def __init__(self) -> None:
        self.existing: set[tuple[str, str]] = set()
        """(kind, name) of its Service, Secret and claim, as far as they are known to exist."""
        self._groups: dict[str, GroupState] = {}
        self._workloads: dict[str, WorkloadState] = {}

    def update(self, resource: Resource, body: Manifest) -> bool:
        """Take in an object; return whether that is news to decisions."""
        # Items of a list come without their type.
        typed = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        if resource.kind == POD_GROUP:
            return _put(self._groups, read_group(typed))
        if resource.kind == WORKLOAD:
            return _put(self._workloads, read_workload(typed))
        what = (resource.kind, body["metadata"]["name"])
        known = what in self.existing
        self.existing.add(what)
        return not known

    def remove(self, kind: str, name: str, uid: str) -> None:
        """Take in that an object is gone."""
        self.existing.discard((kind, name))
        self.give_away(uid)

    def give_away(self, uid: str) -> None:
        """Forget a PodGroup or Workload that belongs to another job now."""
        self._groups.pop(uid, None)
        self._workloads.pop(uid, None)

    def groups(self) -> tuple[GroupState, ...]:
        """Return the PodGroups by name."""
        return tuple(sorted(self._groups.values(), key=_name_and_uid))

    def workloads(self) -> tuple[WorkloadState, ...]:
        """Return the Workloads by name."""
        return tuple(sorted(self._workloads.values(), key=_name_and_uid))


def _put(states: dict[str, State], state: State) -> bool:
    known = states.get(state.uid) == state
    states[state.uid] = state
    return not known


def _name_and_uid(state: GroupState | WorkloadState) -> tuple[str, str]:
    return state.name, state.uid
