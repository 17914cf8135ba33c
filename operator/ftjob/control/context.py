"""What the parts of the operator share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.agents import Agents
    from ftjob.control.cache import Cache
    from ftjob.control.discovery import Discovery
    from ftjob.control.events import Events
    from ftjob.control.metrics import Metrics
    from ftjob.control.queue import Queue
    from ftjob.control.status import Pace
    from ftjob.kube.port import Kube
    from ftjob.plan.decision import Config


@dataclass(frozen=True)
class Context:
    """One operator's knowledge and its ways to act."""

    kube: Kube
    cache: Cache
    queue: Queue
    pace: Pace
    events: Events
    agents: Agents
    metrics: Metrics
    discovery: Discovery
    config: Config
    clock: Callable[[], float]
    """Unix time."""
