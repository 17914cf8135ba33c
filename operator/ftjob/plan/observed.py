"""What is seen of a job in the cluster, as frozen data; and how it is read from raw objects.

Rule 4 of the substrate: the outcome of a worker is its trainer container's ``terminated`` state, not the
pod's phase, since a sidecar may live on. The last object of a DELETED event is evidence too (``gone``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import items, mapping
from ftjob.api.names import (
    GROUP,
    KIND,
    KUEUE_GATE,
    LABEL_ATTEMPT,
    LABEL_INDEX,
    LABEL_ROLE,
    LABEL_UID,
    VERSION,
)
from ftjob.api.template import AGENT_NAME
from ftjob.plan.message import RankFailure, TerminationMessage, last_lines, parse_termination_message
from ftjob.plan.resources import amounts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.plan.decision import Lookup

TRAINER = "trainer"
NODE_LOST = "DeletionByTaintManager"
"""Reason of DisruptionTarget once a NoExecute taint has ended the pod: that of a node that went away."""


@dataclass(frozen=True)
class Terminated:
    """How the trainer container ended."""

    exit_code: int
    reason: str
    message: TerminationMessage | None
    seen: float
    """Unix time at which the operator first saw it; not the node's clock."""
    log_tail: str = ""
    """The last lines of the trainer's log, where its agent was killed before it could say a word."""


@dataclass(frozen=True)
class PodState:
    """One pod of a job."""

    name: str
    uid: str
    role: str
    index: int
    attempt: int
    job_uid: str
    node: str | None = None
    ip: str | None = None
    running: bool = False
    terminated: Terminated | None = None
    has_sidecars: bool = False
    """Whether another container of it still runs: with the trainer ended, the pod would stay for ever."""
    deleting: bool = False
    deleting_seen: float = 0.0
    """Unix time at which the operator first saw it marked for deletion."""
    lost_seen: float = 0.0
    """Unix time at which the operator first saw that its node has been given up."""
    gone: bool = False
    disruption: str | None = None
    """Reason of the pod's DisruptionTarget condition (KEP-3329)."""
    waiting: str | None = None
    """Why the pod does not run yet, in Kubernetes' own words: ``ImagePullBackOff: …``."""

    @property
    def place(self) -> tuple[str, int]:
        """Role and index."""
        return self.role, self.index

    @property
    def is_over(self) -> bool:
        """Whether the ranks of this pod can no longer run."""
        return self.gone or self.terminated is not None

    @property
    def is_lost(self) -> bool:
        """Whether its node has been given up: the pod stays until the node is back or deleted."""
        return self.deleting and not self.is_over and self.disruption == NODE_LOST

    @property
    def succeeded(self) -> bool:
        """Whether the trainer exited with 0."""
        return self.terminated is not None and self.terminated.exit_code == 0

    @property
    def was_released(self) -> bool:
        """Whether its agent was told to stop because another's success is the job's."""
        message = self.terminated.message if self.terminated is not None else None
        return message is not None and message.failure is not None and message.failure.type == "JobSucceeded"


class RefusalKind(StrEnum):
    """Why the API server did not create an object."""

    INVALID = "Invalid"
    """400 or 422: the object is wrong and stays wrong."""
    FORBIDDEN = "Forbidden"
    """403: quota or admission; may pass later."""
    CONFLICT = "Conflict"
    """409, and the object of that name is a stranger's."""
    TERMINATING = "Terminating"
    """409, and the object of that name belongs to an earlier job of this name."""


@dataclass(frozen=True)
class Refusal:
    """What the API server said when an object of this job was to be created."""

    kind: RefusalKind
    object_kind: str
    object_name: str
    message: str
    retry_at: float
    """Unix time of the next try."""


@dataclass(frozen=True)
class GroupState:
    """The PodGroup of an attempt."""

    api_version: str
    name: str
    uid: str
    deleting: bool = False
    waiting: str | None = None
    """Why its pods are not placed, in the scheduler's own words: ``Unschedulable: …``."""


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
    before = [c for c in items(spec, "initContainers") if c.get("name") != AGENT_NAME]
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
        return {c["type"]: c for c in self.status.get("conditions") or ()}

    def condition(self, kind: str) -> bool:
        """Whether a condition is true."""
        return self.conditions.get(kind, {}).get("status") == "True"

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


@dataclass(frozen=True)
class Answer:
    """What was read at a decision's request: an object, or why it could not be read."""

    body: dict[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class LeaderReport:
    """What the agent of index 0 says about the whole job (``GET /v1/progress``)."""

    attempt: int
    state: str
    progress: dict[str, Any] | None
    captures: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    watchdog: str = ""
    """Why the watchdog can't tell a hang, or not yet."""
    failure: RankFailure | None = None
    """The first failing rank."""
    ordered: int = 0
    """The last attempt that it was told to start."""
    version: int = field(default=0, compare=False)
    """Of what is worth waking the operator for."""


@dataclass(frozen=True)
class Observed:
    """Everything that is known of a job beside the job itself."""

    pods: tuple[PodState, ...] = ()
    predecessors: tuple[str, ...] = ()
    """Names of living pods of an earlier job of the same name."""
    existing: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """(kind, name) of our Service, Secret and claim, as far as they are known to exist."""
    groups: tuple[GroupState, ...] = ()
    workloads: tuple[WorkloadState, ...] = ()
    looked_up: Mapping[Lookup, Answer] = field(default_factory=dict)
    served: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """(apiVersion, kind) of what the API server serves beside what every one does."""
    refusal: Refusal | None = None
    report: LeaderReport | None = None
    last_ends: Mapping[int, float] = field(default_factory=dict)
    """By attempt, the Unix time at which the operator saw the last of its pods end."""


def read_pod(raw: dict[str, Any], *, trainer: str, seen: float, gone: bool = False) -> PodState:
    """Read a pod as the API server gives it.

    Parameters
    ----------
    raw
        The pod; fields that are not read here may have been pruned.
    trainer
        Name of the trainer container.
    seen
        Unix time at which this state was first seen.
    gone
        Whether this is the last object of a DELETED event.
    """
    meta = raw["metadata"]
    labels = meta.get("labels") or {}
    status = raw.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    container = next((c for c in status.get("containerStatuses") or () if c["name"] == trainer), None)
    state = (container or {}).get("state") or {}
    terminated = None
    if "terminated" in state:
        end = state["terminated"]
        text = end.get("message") or ""
        message = parse_termination_message(text)
        terminated = Terminated(
            exit_code=int(end.get("exitCode", 1)),
            reason=end.get("reason", ""),
            message=message,
            seen=seen,
            log_tail=last_lines(text) if message is None else "",
        )
    elif status.get("phase") in {"Failed", "Succeeded"}:
        # The kubelet may end a pod (eviction, admission) without any container status.
        terminated = Terminated(
            exit_code=0 if status["phase"] == "Succeeded" else 137,
            reason=status.get("reason", "") or status["phase"],
            message=None,
            seen=seen,
        )
    deleting = "deletionTimestamp" in meta
    condition = conditions.get("DisruptionTarget") or {}
    disruption = condition.get("reason") if condition.get("status") == "True" else None
    return PodState(
        name=meta["name"],
        uid=meta.get("uid", ""),
        role=labels.get(LABEL_ROLE, ""),
        index=_number(labels.get(LABEL_INDEX)),
        attempt=_number(labels.get(LABEL_ATTEMPT)),
        job_uid=labels.get(LABEL_UID, ""),
        node=(raw.get("spec") or {}).get("nodeName"),
        ip=status.get("podIP"),
        running="running" in state,
        terminated=terminated,
        has_sidecars=any(
            "running" in (c.get("state") or {})
            for c in status.get("containerStatuses") or ()
            if c["name"] != trainer
        ),
        deleting=deleting,
        deleting_seen=seen if deleting else 0.0,
        lost_seen=seen if deleting and disruption == NODE_LOST else 0.0,
        gone=gone,
        disruption=disruption,
        waiting=None if terminated else _gated(raw) or _waiting(status, conditions, state),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


BENIGN = frozenset({"ContainerCreating", "PodInitializing"})


def _gated(raw: dict[str, Any]) -> str | None:
    """Say so when Kueue manages the pod by itself, beside the job's Workload: nobody will ever let it in."""
    gates = (raw.get("spec") or {}).get("schedulingGates") or ()
    if all(gate.get("name") != KUEUE_GATE for gate in gates):
        return None
    return (
        f"GatedByKueue: Kueue's webhook for pods holds it back; add {KIND}.{VERSION}.{GROUP} to "
        "integrations.externalFrameworks in Kueue's configuration"
    )


def _waiting(
    status: dict[str, Any], conditions: dict[str, dict[str, Any]], trainer: dict[str, Any]
) -> str | None:
    """Why the pod does not run, or None when it is just starting."""
    scheduled = conditions.get("PodScheduled") or {}
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
    states = [(c.get("state") or {}) for c in status.get("initContainerStatuses") or ()]
    for state in [*states, trainer]:
        waiting = state.get("waiting") or {}
        if waiting and waiting.get("reason") not in BENIGN:
            return f"{waiting.get('reason', '')}: {waiting.get('message', '')}"
    return None
