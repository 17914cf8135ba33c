"""What was seen of a job and of what belongs to it: plain data, as far as judging it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import conditions_of, mapping
from ftjob.models.times import unix

if TYPE_CHECKING:
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob.plan.observed.pod import PodState


MOUNTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
"""Reasons of Events about volumes that can't be mounted, or not yet."""
PULLING = "Pulling"
"""Reason of the Event that follows once all volumes of a pod are mounted."""


@dataclass(frozen=True)
class EventSeen:
    """An Event of Kubernetes."""

    kind: str
    name: str
    """Of the object that it is about."""
    reason: str
    message: str
    count: int
    last: float
    """Unix time."""


@dataclass(frozen=True)
class NodeSeen:
    """A node on which a pod of the job is that is not well."""

    name: str
    exists: bool = True
    ready: str = "True"
    """Status of its condition Ready: Unknown if its kubelet is silent."""
    words: str = ""
    since: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether it answers."""
        return self.exists and self.ready == "True"


@dataclass(frozen=True)
class ClaimSeen:
    """A claim that the job's pods mount."""

    name: str
    phase: str = ""
    """Empty: there is no such claim."""
    storage_class: str = ""


@dataclass(frozen=True)
class QuotaSeen:
    """A quota of the namespace."""

    name: str
    used: tuple[tuple[str, str, str], ...]
    """Resource, used, allowed."""


@dataclass(frozen=True)
class Seen:
    """A job, as its user may see it."""

    name: str
    namespace: str
    created: float
    now: float
    status: JobStatus
    labels: dict[str, str] = field(default_factory=dict)
    pods: tuple[PodState, ...] = ()
    """Of the present attempt, in rank order."""
    events: tuple[EventSeen, ...] = ()
    """Warnings about its pods and claims, and where a volume was not mounted at first, which pods have pulled
    their image since; the newest first."""
    nodes: tuple[NodeSeen, ...] = ()
    claims: tuple[ClaimSeen, ...] = ()
    quotas: tuple[QuotaSeen, ...] = ()
    workload: WorkloadState | None = None
    position: int | None = None
    """How many jobs are before it in its queue."""
    unread: tuple[str, ...] = ()
    """What could not be read, and why."""

    @property
    def waiting(self) -> tuple[PodState, ...]:
        """Its pods that are there and do not run yet."""
        return tuple(pod for pod in self.pods if not pod.running and not pod.is_over and not pod.deleting)


def read_event(raw: dict[str, Any]) -> EventSeen:
    """Read an Event, of whichever of its two forms."""
    about, series = mapping(raw, "involvedObject"), mapping(raw, "series")
    last = (
        raw.get("lastTimestamp")
        or series.get("lastObservedTime")
        or raw.get("eventTime")
        or mapping(raw, "metadata").get("creationTimestamp")
    )
    return EventSeen(
        kind=str(about.get("kind") or ""),
        name=str(about.get("name") or ""),
        reason=str(raw.get("reason") or ""),
        message=str(raw.get("message") or ""),
        count=int(raw.get("count") or series.get("count") or 1),
        last=time_of(last),
    )


def read_node(name: str, found: list[dict[str, Any]]) -> NodeSeen:
    """Read a node from the list of those that have its name."""
    if not found:
        return NodeSeen(name, exists=False)
    ready = conditions_of(found[0].get("status")).get("Ready", {})
    return NodeSeen(
        name,
        ready=str(ready.get("status") or "Unknown"),
        words=str(ready.get("message") or ""),
        since=time_of(ready.get("lastTransitionTime")),
    )


def read_claim(name: str, found: list[dict[str, Any]]) -> ClaimSeen:
    """Read a claim from the list of those of a namespace."""
    raw = next((each for each in found if mapping(each, "metadata").get("name") == name), None)
    if raw is None:
        return ClaimSeen(name)
    phase = str(mapping(raw, "status").get("phase") or "Pending")
    return ClaimSeen(name, phase, str(mapping(raw, "spec").get("storageClassName") or ""))


def read_quota(raw: dict[str, Any]) -> QuotaSeen:
    """Read a ResourceQuota."""
    allowed, used = mapping(raw, "status", "hard"), mapping(raw, "status", "used")
    rows = ((what, str(used.get(what, "0")), str(limit)) for what, limit in sorted(allowed.items()))
    return QuotaSeen(str(mapping(raw, "metadata").get("name")), tuple(rows))


def time_of(stamp: Any, otherwise: float = 0.0) -> float:
    """Return a time as Unix time, if it is one."""
    try:
        return unix(str(stamp))
    except (ValueError, OverflowError):
        return otherwise
