"""The pods of one job: the last state of each, and what the pods that are gone leave as evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.plan.observed.collector import CollectorState, is_collector, read_collector
from ftjob.plan.observed.pod import PodState, read_pod
from ftjob_protocol import variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftjob.models.manifest import Manifest
    from ftjob.models.status import JobStatus


class JobPods:
    """The pods of one job, by UID. Times are Unix times by the operator's clock."""

    def __init__(self) -> None:
        self._pods: dict[str, PodState] = {}
        self._collectors: dict[str, CollectorState] = {}
        """By UID; by name those that were refused."""
        self.last_ends: dict[int, float] = {}
        """By attempt, when the last of its pods was seen to end."""

    def update(self, body: Manifest, now: float) -> bool:
        """Take in a pod; return whether decisions may depend on the change."""
        if is_collector(body):
            return self._update_collector(body, now)
        pod = read_pod(body, trainer=trainer_name(body), seen=now)
        old = self._pods.get(pod.uid)
        if old is not None:
            pod = _with_times_of(old, pod)
        if pod.is_over and (old is None or not old.is_over):
            self.last_ends[pod.attempt] = now
        self._pods[pod.uid] = pod
        # Where a pod runs matters when something else about it changes.
        return old is None or replace(old, node=pod.node, ip=pod.ip) != pod

    def _update_collector(self, body: Manifest, now: float) -> bool:
        found = read_collector(body, seen=now)
        old = self._collectors.get(found.uid)
        if old is not None:
            found = replace(found, seen=old.seen)
        self._collectors[found.uid] = found
        return found != old

    def refuse_collector(self, about: str, name: str, why: str, now: float) -> None:
        """Note that the API server did not take a collector's pod."""
        self._collectors[name] = CollectorState(about, name, "", now, ended=True, why=why)

    def collectors(self) -> tuple[CollectorState, ...]:
        """Return the collectors by their names."""
        return tuple(sorted(self._collectors.values(), key=lambda found: found.name))

    def mark_gone(self, uid: str, now: float, *, keep: bool) -> None:
        """Take in that a pod does not exist any more.

        Parameters
        ----------
        keep
            Whether its last known state stays as evidence.
        """
        if self._collectors.pop(uid, None) is not None:
            return
        pod = self._pods.pop(uid)
        if not pod.is_over:
            self.last_ends[pod.attempt] = now
        if keep:
            self._pods[uid] = replace(pod, gone=True, deleting=True)

    def drop_evidence(self) -> None:
        """Forget the pods that are gone."""
        self._pods = {uid: pod for uid, pod in self._pods.items() if not pod.gone}

    def drop_old_evidence(self, status: JobStatus) -> None:
        """Forget the pods that are gone, except those of the job's present attempt.

        The pods of a job without a start time are those of a start that was taken back.
        """
        over = status.start_time is None or (status.phase is not None and status.phase.is_final)
        for uid in [
            uid for uid, p in self._pods.items() if p.gone and (over or p.attempt < status.pod_attempt)
        ]:
            del self._pods[uid]
        present = {status.pod_attempt, *(pod.attempt for pod in self._pods.values())}
        for attempt in [attempt for attempt in self.last_ends if attempt not in present]:
            del self.last_ends[attempt]

    def in_order(self) -> tuple[PodState, ...]:
        """Return all pods by attempt, role and index."""
        return tuple(sorted(self._pods.values(), key=lambda p: (p.attempt, p.role, p.index, p.name)))

    def living(self) -> Iterator[PodState]:
        """Return the pods that are not gone."""
        return (pod for pod in self._pods.values() if not pod.gone)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods or uid in self._collectors


def _with_times_of(old: PodState, pod: PodState) -> PodState:
    """Return the pod's new state; what was seen before keeps the time at which it was first seen."""
    if old.terminated and pod.terminated:
        pod = replace(pod, terminated=replace(pod.terminated, seen=old.terminated.seen))
    if old.deleting and pod.deleting:
        pod = replace(pod, deleting_seen=old.deleting_seen)
    if old.is_lost and pod.is_lost:
        pod = replace(pod, lost_seen=old.lost_seen)
    return pod


def trainer_name(pod: Manifest) -> str:
    """Return the name of the container that the agent runs in.

    Read from the pod itself, so that a pod can be understood before its job is known, and whatever
    sidecars admission has added.
    """
    containers = (pod.get("spec") or {}).get("containers") or []
    for container in containers:
        if any(variable.get("name") == variables.AGENT_CONFIG for variable in container.get("env") or ()):
            return str(container["name"])
    return str(containers[0]["name"]) if containers else ""
