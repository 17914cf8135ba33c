"""The next step in a job's life, and what everyone concerned has to do for it, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ftjob.models.brought import AgentFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ftjob.models.manifest import Manifest
    from ftjob.models.spec import GangMode
    from ftjob.models.status import Failure
    from ftjob.plan.observed.state import Lookup
    from ftjob_protocol.captures.order import CaptureOrder
    from ftjob_protocol.orders import Order


class Step(StrEnum):
    """What happens to the job now."""

    WAIT = "Wait"
    """Something outside has to change first."""
    START = "Start"
    """The attempt begins: status.startTime is written, then its objects are created."""
    CONTINUE = "Continue"
    """The attempt goes on; absent objects are created."""
    RESTART = "Restart"
    """The attempt has failed and another will follow: status counts it, then the old pods go."""
    HOLD = "Hold"
    """The next attempt waits: for the old one's pods to end, or for its time."""
    RECREATE = "Recreate"
    """The ranks could not be started again in place: status says so, then the old pods go."""
    QUEUE = "Queue"
    """No pods, until Kueue lets the job in."""
    SUSPEND = "Suspend"
    """No pods, until ``spec.suspend`` is false again."""
    SUCCEED = "Succeed"
    FAIL = "Fail"
    REFUSE = "Refuse"
    """The spec can't be run as it is: Failed/InvalidSpec until it is edited."""
    REST = "Rest"
    """The job is finished; only what it left running is cleaned up."""


@dataclass(frozen=True)
class PodRef:
    """A pod to delete; the UID goes with the request, since a name is not an identity."""

    name: str
    uid: str


@dataclass(frozen=True)
class ObjectRef:
    """Another object to delete."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class NewObject:
    """An object to create. Its manifest is built when it is sent: those of 10,000 pods fill the memory."""

    kind: str
    name: str
    build: Callable[[], Manifest] = field(compare=False)
    role: str = ""
    """Of a pod: those of one role ask for the same."""

    @classmethod
    def of(cls, manifest: Manifest) -> NewObject:
        """Return an object whose manifest is at hand."""
        return cls(manifest["kind"], manifest["metadata"]["name"], lambda: manifest)

    def with_change(self, change: Callable[[Manifest], None]) -> NewObject:
        """Return the same object, with something written into its manifest."""

        def build() -> Manifest:
            manifest = self.build()
            change(manifest)
            return manifest

        return replace(self, build=build)


@dataclass(frozen=True)
class Changes:
    """For the API server: which objects come and go."""

    create: tuple[NewObject, ...] = ()
    """In order; a refusal of one stops the rest."""
    delete: tuple[PodRef, ...] = ()
    remove: tuple[ObjectRef, ...] = ()
    """What went with the pods."""
    delete_job: bool = False
    """Its time to live is over; its objects follow by their owner references."""

    @property
    def pods(self) -> tuple[NewObject, ...]:
        """The pods among what is created."""
        return tuple(new for new in self.create if new.kind == "Pod")

    def with_pods(self, change: Callable[[Manifest], None]) -> Changes:
        """Return the same changes, with something written into each new pod."""
        create = (new.with_change(change) if new.kind == "Pod" else new for new in self.create)
        return replace(self, create=tuple(create))


@dataclass(frozen=True)
class StatusPatch:
    """What someone else's controller has to be told, in the status of an object of theirs."""

    api_version: str
    kind: str
    name: str
    resource_version: str
    status: dict[str, Any]


@dataclass(frozen=True)
class Adoption:
    """An object that somebody else has made for the job: it becomes the job's own."""

    found: Lookup
    resource_version: str
    metadata: dict[str, Any]
    """What changes of its metadata."""


@dataclass(frozen=True)
class ForKueue:
    """For Kueue: what has to be read of its objects, adopted, and said in the Workload's status."""

    look_up: tuple[Lookup, ...] = ()
    adopt: Adoption | None = None
    say: StatusPatch | None = None


@dataclass(frozen=True)
class RestartDecision:
    """Whether another attempt follows one that has ended, and when."""

    again: bool
    disruption: bool
    why: str
    """For people: why there is no other attempt, or what it costs."""
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class Replacements:
    """What becomes of the workers that an elastic job has lost."""

    counts: Mapping[str, int]
    """How often each index was replaced, those of now included."""
    failures: tuple[Failure, ...] = ()
    """Of those that failed by themselves."""
    message: str = ""
    """For people: who is replaced now, and why; nothing if nobody is."""
    next_look: float | None = None
    """Seconds until another may be replaced."""


@dataclass(frozen=True)
class ForStatus:
    """For `derive_status`: what the step has to record beside its reason and message."""

    failure: Failure | None = None
    restart: RestartDecision | None = None
    """Why an attempt that has failed is or is not followed by another."""
    gang: GangMode | None = None
    """Who places the pods of the present attempt together, if anyone."""
    replacements: Replacements | None = None
    """Workers of an elastic job that others follow: status counts them, then the pods come."""
    in_place: bool = False
    """Whether the attempt that follows lives in the same pods."""


@dataclass(frozen=True)
class ForCollector:
    """Pods that write reports. That one is refused is no matter of the job's."""

    create: NewObject | None = None
    delete: tuple[PodRef, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The next step in a job's life and everything that follows from it, as plain data."""

    step: Step
    reason: str = ""
    message: str = ""
    changes: Changes = field(default_factory=Changes)
    order: Order | CaptureOrder | None = None
    """For the agent of index 0."""
    kueue: ForKueue = field(default_factory=ForKueue)
    collector: ForCollector = field(default_factory=ForCollector)
    status: ForStatus = field(default_factory=ForStatus)
    next_look: float | None = None
    """Seconds until the plan may differ without any event."""
    is_for_want_of_a_kind: bool = False
    """Whether a job is refused for nothing but a kind that the cluster was not known to serve."""


def soonest(*looks: float | None) -> float | None:
    """Return the first of several times to look again, if there is any."""
    return min((look for look in looks if look is not None), default=None)


@dataclass(frozen=True)
class OperatorPods:
    """How a NetworkPolicy finds the operator's pods."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class CollectorImage:
    """The image with the collector: the operator's own."""

    name: str
    command: tuple[str, ...]
    """What starts the collector there."""
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True)
class Config:
    """The operator's settings that plans depend on."""

    agent: AgentFile = field(default_factory=lambda: AgentFile(b""))
    default_storage_class_name: str | None = None
    default_claim_size: str = "10Gi"
    contact_timeout_seconds: int = 30
    network_policy_from: OperatorPods | None = None
    """Whom a job's NetworkPolicy lets in beside the job's own pods; None if jobs get no policy."""
    collector: CollectorImage | None = None
    """What writes reports into the outputs; None if nobody does."""
    agent_key: bytes = b""
    """Key of this installation; a job's token is derived from it and the job's UID."""
