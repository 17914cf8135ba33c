"""What a strategy says: who its workers are, the environment of its ranks, and what its pods need.

All that ftjob knows of a strategy stands in its own file; the CRD, the checks of a job and the documentation
take it from there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from ftjob.models.spec import SuccessPolicy
from ftjob_protocol.variables import IFACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.spec import JobSpec
    from ftjob_protocol.agent_config import Rendezvous

NCCL_INTERFACE = {"NCCL_SOCKET_IFNAME": f"={IFACE}"}
"""For frameworks that exchange by NCCL: the interface of just this name (NVIDIA's NCCL documentation)."""


class Processes(Enum):
    """How many ranks a worker has where ``processesPerWorker`` is left out."""

    PER_GPU = "one for each GPU that the trainer asks for, at least one"
    ONE = "one, which drives all devices of the pod"
    ALWAYS_ONE = "one, and no other number makes sense"


@dataclass(frozen=True)
class Family:
    """The variables by which a framework tells a rank who it is: a job that sets one itself is refused."""

    owner: str
    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PodNeeds:
    """What a worker's pod gets beside the user's template, whose own values win."""

    resources: Mapping[str, int] = field(default_factory=dict)
    """Limits of the trainer, and the same as requests."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Terms of ``podAffinity`` and ``podAntiAffinity`` that are required for scheduling."""


class Strategy(ABC):
    """How the workers of a job cooperate.

    A subclass says what differs from the values here. What it says of roles is limited to those of
    `ftjob.models.spec.Roles`.
    """

    name: ClassVar[str]
    """The value of ``spec.strategy``."""
    processes: ClassVar[Processes] = Processes.PER_GPU
    roles: ClassVar[Mapping[str, int]] = {}
    """Roles beside worker, and how many pods of each there are if the spec does not say."""
    success: ClassVar[SuccessPolicy] = SuccessPolicy.ALL_WORKERS
    """Which workers decide on success if the spec does not say."""
    others_end: ClassVar[bool] = True
    """Whether the workers that do not decide on success end by themselves; if not, none can wait for them."""
    elastic: ClassVar[bool] = False
    """Whether workers may come and go."""
    identity: ClassVar[tuple[Family, ...]] = ()
    """Variables that tell a rank of this strategy who it is, and so are ftjob's alone to set."""
    unless_set: ClassVar[tuple[str, ...]] = ()
    """Variables of which none is set where the container has any: the platform, or the user, means others."""
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """What a spec can say beside ``strategy`` and ``template``, the shortest first."""

    @abstractmethod
    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the variables that tell one rank who it is and how to reach the others."""

    def default_workers(self, spec: JobSpec) -> int:
        """Return the number of pods of role worker if the spec does not say."""
        return 1

    def rendezvous(self, layout: Layout) -> Rendezvous | None:
        """Return what the leader's agent has to serve before any rank starts, if anything."""
        return None

    def makes_steps(self, layout: Layout, worker: WorkerPlace) -> bool:
        """Return whether the worker's ranks run the training loop; others are not profiled by default."""
        return True

    def needs(self, layout: Layout, worker: WorkerPlace) -> PodNeeds:
        """Return what the worker's pod needs."""
        return PodNeeds()
