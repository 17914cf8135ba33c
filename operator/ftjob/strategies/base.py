"""What a strategy says: the environment of its ranks, what its pods need, and how its ranks start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.spec import StrategyName

LEADER_IP = "@LEADER_IP@"
"""Filled in by the agent: the address that the leader answered from."""
IFACE = "@IFACE@"
"""Filled in by the agent: the interface of the route to the leader."""

RANK, SIZE, GROUP_RANK, GROUP_SIZE, LOCAL_SIZE, GENERATION, HOSTNAME = (
    "@RANK@",
    "@SIZE@",
    "@CROSS_RANK@",
    "@CROSS_SIZE@",
    "@LOCAL_SIZE@",
    "@GENERATION@",
    "@HOSTNAME@",
)
"""Filled in by the agents of an elastic job, from the order by which a rank is started."""

NCCL_INTERFACE = {"NCCL_SOCKET_IFNAME": f"={IFACE}"}
"""For frameworks that exchange by NCCL: the interface of just this name (NVIDIA's NCCL documentation)."""


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
    """How the workers of a job cooperate."""

    name: ClassVar[StrategyName]
    unless_set: ClassVar[tuple[str, ...]] = ()
    """Variables of which none is set where the container has any: the platform knows better."""

    @abstractmethod
    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the variables that tell one rank who it is and how to reach the others."""

    def rendezvous(self, layout: Layout) -> dict[str, Any] | None:
        """Return what the leader's agent has to serve before any rank starts, if anything."""
        return None

    def makes_steps(self, layout: Layout, worker: WorkerPlace) -> bool:
        """Return whether the worker's ranks run the training loop; others are not profiled by default."""
        return True

    def needs(self, layout: Layout, worker: WorkerPlace) -> PodNeeds:
        """Return what the worker's pod needs."""
        return PodNeeds()
