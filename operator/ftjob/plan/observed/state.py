"""What is seen of a job in the cluster, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.plan.observed.collector import CollectorState
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob.plan.observed.pod import PodState
    from ftjob_protocol.leader_state import LeaderState


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
class Answer:
    """What was read at a decision's request: an object, or why it could not be read."""

    body: dict[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True)
class Observed:
    """Everything that is known of a job beside the job itself."""

    pods: tuple[PodState, ...] = ()
    collectors: tuple[CollectorState, ...] = ()
    """Of the job's reports; the refusal of one is among them."""
    predecessors: tuple[str, ...] = ()
    """Names of living pods of an earlier job of the same name."""
    existing: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """(kind, name) of the job's Service, Secret and claim, and of the ConfigMap that it shares with others of
    its namespace, as far as they are known to exist."""
    groups: tuple[GroupState, ...] = ()
    workloads: tuple[WorkloadState, ...] = ()
    looked_up: Mapping[Lookup, Answer] = field(default_factory=dict)
    served: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    """(apiVersion, kind) of what the API server serves beside what every one does."""
    refusal: Refusal | None = None
    leader: LeaderState | None = None
    unreached: str = ""
    """Why the leader could not be asked when that was last tried."""
    last_ends: Mapping[int, float] = field(default_factory=dict)
    """By attempt, the Unix time at which the operator saw the last of its pods end."""

    def pods_of(self, attempt: int) -> tuple[PodState, ...]:
        """Return the pods of one attempt."""
        return tuple(pod for pod in self.pods if pod.attempt == attempt)

    def until_next_try(self, now: float) -> float | None:
        """Return the seconds until what was refused may be tried again, if it may not be yet."""
        left = self.refusal.retry_at - now if self.refusal is not None else 0.0
        return left if left > 0 else None


@dataclass(frozen=True)
class Lookup:
    """Something that has to be read before the next decision."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    holds_seconds: float = field(default=60.0, compare=False)
    """How long the answer holds: then it is read again."""
