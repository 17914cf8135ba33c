"""Pods as they are read from the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ftjob.models.manifest import conditions_of
from ftjob.models.names import (
    GROUP,
    KIND,
    KUEUE_GATE,
    LABEL_ATTEMPT,
    LABEL_INDEX,
    LABEL_ROLE,
    VERSION,
)
from ftjob_protocol.failures import FailureType, last_lines
from ftjob_protocol.reasons import Reason
from ftjob_protocol.termination import TerminationMessage, parse_termination_message
from ftjob_protocol.values.digits import whole
from ftjob_protocol.values.marks import without_marks
from ftjob_protocol.values.text import clean

TAINTED = "DeletionByTaintManager"
"""Reason of DisruptionTarget once a NoExecute taint has ended the pod: that of a node that went away."""

WORDS_BYTES = 512

BENIGN = frozenset({"ContainerCreating", "PodInitializing"})


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
    words: str = ""
    """Why the cluster has ended the pod, in its own words: ``The node was low on resource: …``."""
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
        return self.deleting and not self.is_over and self.disruption == TAINTED

    @property
    def succeeded(self) -> bool:
        """Whether the trainer exited with 0."""
        return self.terminated is not None and self.terminated.exit_code == 0

    @property
    def was_released(self) -> bool:
        """Whether its agent was told to stop because another's success is the job's."""
        message = self.terminated.message if self.terminated is not None else None
        return (
            message is not None
            and message.failure is not None
            and message.failure.type == FailureType.JOB_SUCCEEDED
        )


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
    conditions = conditions_of(status)
    container = next((c for c in status.get("containerStatuses") or () if c["name"] == trainer), None)
    state = (container or {}).get("state") or {}
    terminated = _read_end(status, state, seen)
    deleting = "deletionTimestamp" in meta
    condition = conditions.get("DisruptionTarget") or {}
    is_disrupted = condition.get("status") == "True"
    disruption = condition.get("reason") if is_disrupted else None
    return PodState(
        name=meta["name"],
        uid=meta.get("uid", ""),
        role=labels.get(LABEL_ROLE, ""),
        index=whole(labels.get(LABEL_INDEX) or "") or 0,
        attempt=whole(labels.get(LABEL_ATTEMPT) or "") or 0,
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
        lost_seen=seen if deleting and disruption == TAINTED else 0.0,
        gone=gone,
        disruption=disruption,
        words=clean(str((condition if is_disrupted else status).get("message") or ""), WORDS_BYTES),
        waiting=None if terminated else _gated(raw) or _waiting(status, conditions, state),
    )


def _read_end(status: dict[str, Any], trainer: dict[str, Any], seen: float) -> Terminated | None:
    """Return how the trainer ended: its own end, whatever else of the pod may live on; or the pod's."""
    if "terminated" in trainer:
        end = trainer["terminated"]
        text = end.get("message") or ""
        message = parse_termination_message(text)
        return Terminated(
            exit_code=int(end.get("exitCode", 1)),
            reason=end.get("reason", ""),
            message=message,
            seen=seen,
            log_tail=last_lines(without_marks(text)) if message is None else "",
        )
    if status.get("phase") not in {"Failed", "Succeeded"}:
        return None
    # The kubelet may end a pod (eviction, admission) without any container status.
    return Terminated(
        exit_code=0 if status["phase"] == "Succeeded" else 137,
        reason=status.get("reason", "") or status["phase"],
        message=None,
        seen=seen,
    )


def _gated(raw: dict[str, Any]) -> str | None:
    """Say so when Kueue manages the pod by itself, beside the job's Workload: nobody will ever let it in."""
    gates = (raw.get("spec") or {}).get("schedulingGates") or ()
    if all(gate.get("name") != KUEUE_GATE for gate in gates):
        return None
    return (
        f"{Reason.GATED_BY_KUEUE}: Kueue's webhook for pods holds it back; add {KIND}.{VERSION}.{GROUP} to "
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
