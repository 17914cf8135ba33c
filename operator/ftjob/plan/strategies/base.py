"""What a strategy says: the environment of its ranks, and whether they start together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ftjob.api.spec import StrategyName
    from ftjob.plan.layout import Layout, WorkerPlace

LEADER_IP = "@LEADER_IP@"
"""Filled in by the agent: the address that the leader answered from."""
IFACE = "@IFACE@"
"""Filled in by the agent: the interface of the route to the leader."""


class Strategy(Protocol):
    """How the workers of a job cooperate."""

    name: ClassVar[StrategyName]
    together: ClassVar[bool]
    """Whether no rank may start before all agents have reported."""

    def env(self, layout: Layout, worker: WorkerPlace, rank: int, local_rank: int) -> Mapping[str, str]:
        """Return the variables that tell one rank who it is and how to reach the others."""
        ...

    def rendezvous(self, layout: Layout) -> dict[str, Any] | None:
        """Return what the leader's agent has to serve before any rank starts, if anything."""
        ...
