"""Orders on their way to the leaders, beside the reconcilers: one that hangs holds up its own job only."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ftjob.control.leaders.agent_client import AgentError
from ftjob.control.process.logs import about

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.control.cache.cache import Cache
    from ftjob.control.leaders.agent_client import Agents
    from ftjob.control.queue import Queue
    from ftjob.plan.observed.pod import PodState
    from ftjob_protocol.captures.order import CaptureOrder
    from ftjob_protocol.orders import Order

logger = logging.getLogger(__name__)


class Orders:
    """Sends orders, of each job one at a time.

    Parameters
    ----------
    agents
        Who tells the leaders.
    cache
        Takes in what they answer.
    queue
        Takes the jobs whose leaders have said something new.
    """

    def __init__(self, agents: Agents, cache: Cache, queue: Queue) -> None:
        self._agents, self._cache, self._queue = agents, cache, queue
        self._on_their_way: dict[str, asyncio.Task[bool]] = {}

    def send(self, job: AnyJob, order: Order | CaptureOrder) -> None:
        """Send an order, unless one of this job is on its way.

        Nobody waits for the answer: it brings the job back into the queue. An order that is not answered goes
        out again at a later look, which its plan asks for.
        """
        if job.uid in self._on_their_way:
            return
        task = asyncio.create_task(self._send(job, self._cache.observe(job).pods, order))
        self._on_their_way[job.uid] = task
        task.add_done_callback(lambda task: self._arrived(job, task))

    async def close(self) -> None:
        """Give up what is on its way."""
        tasks = list(self._on_their_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, job: AnyJob, pods: tuple[PodState, ...], order: Order | CaptureOrder) -> bool:
        """Return whether the leader has said something new."""
        try:
            state = await self._agents.order(job, pods, order)
        except AgentError as error:
            logger.info("%s %s not heard: %s", order.path, order.as_json(), error, extra=about(job))
        except Exception:
            logger.exception("a mistake in ftjob; the order is sent again", extra=about(job))
        else:
            return self._cache.hear(job, state)
        return False

    def _arrived(self, job: AnyJob, task: asyncio.Task[bool]) -> None:
        del self._on_their_way[job.uid]
        if not task.cancelled() and task.result():
            self._queue.add(job.key)
