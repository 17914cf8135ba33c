"""The parts of the operator that the others use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.cache.cache import Cache
    from ftjob.control.leaders.agent_client import Agents
    from ftjob.control.leaders.orders import Orders
    from ftjob.control.observability.events import Events
    from ftjob.control.observability.metrics import Metrics
    from ftjob.control.observability.pace import Pace
    from ftjob.control.queue import Queue
    from ftjob.control.watching.discovery import Discovery
    from ftjob.kube.client import Kube
    from ftjob.plan.plan import Config


@dataclass(frozen=True)
class Context:
    """One operator's knowledge and its ways to act."""

    kube: Kube
    cache: Cache
    queue: Queue
    pace: Pace
    events: Events
    agents: Agents
    orders: Orders
    metrics: Metrics
    discovery: Discovery
    config: Config
    clock: Callable[[], float]
    """Unix time."""
