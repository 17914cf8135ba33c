"""The operator as a whole: what is started, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftjob.control.agent_client import Agents
from ftjob.control.context import Context
from ftjob.control.follow_agents import follow_jobs
from ftjob.control.process import health
from ftjob.control.process.agent_key import agent_key
from ftjob.control.process.clock import steady_clock
from ftjob.control.process.credentials import connection_info
from ftjob.control.process.lease import Leader
from ftjob.control.queue import Queue
from ftjob.control.queue_workers import work
from ftjob.control.reporting.events import Events
from ftjob.control.reporting.metrics import Metrics
from ftjob.control.reporting.pace import Pace
from ftjob.control.watching.cache import Cache
from ftjob.control.watching.discovery import Discovery
from ftjob.control.watching.full_lists import Sweeper, fill
from ftjob.control.watching.watch import stop_on_signals, watch
from ftjob.kube.http import HttpKube

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ftjob.plan.decision import Config

FINISH_SECONDS = 2.0
"""Nothing is lost if it is cut short: the next operator continues from the same state."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How this operator was started."""

    config: Config
    namespace: str | None
    """The one namespace to serve; None for all."""
    pod_namespace: str
    """Where the operator itself lives: its Lease and its agent key."""
    pod_name: str
    leader_election: bool = True
    workers: int = 16
    health_port: int = 8081
    metrics_port: int = 8080


async def run(options: Options) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Raises
    ------
    Exception
        What ended a part of the operator; a new process is better than half a one.
    """
    stop = asyncio.Event()
    stop_on_signals(stop)
    queue, metrics = Queue(), Metrics()
    state = health.Health(queue, metrics)
    web = await health.serve(health.app(state), {options.health_port, options.metrics_port})
    try:
        async with HttpKube(read_credentials=connection_info, on_request=metrics.request) as kube:
            leader = None
            if options.leader_election:
                identity = f"{options.pod_name}_{uuid.uuid4().hex[:8]}"
                leader = Leader(kube, namespace=options.pod_namespace, identity=identity)
                state.ready = True  # to take over: a rolling update must not wait for the old leader
                if not await _unless(stop, leader.acquire()):
                    return
                kube.before_write = leader.check
            metrics.leader.set(1)
            await _lead(options, kube, leader, state, stop)
    finally:
        await web.cleanup()


async def _lead(
    options: Options, kube: HttpKube, leader: Leader | None, state: health.Health, stop: asyncio.Event
) -> None:
    """Do an operator's work until `stop` is set."""
    clock = steady_clock()
    queue, cache = state.queue, Cache(clock=clock)
    state.metrics.watch(cache, queue)
    parts: list[asyncio.Task[None]] = []

    def start(name: str, part: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(part, name=name)
        task.add_done_callback(lambda _: stop.set())
        parts.append(task)

    if leader is not None:
        start("lease", leader.keep())
    key = await agent_key(kube, options.pod_namespace)
    discovery = Discovery(kube)
    await _unless(stop, discovery.start())
    cache.served = discovery.served
    ctx = Context(
        kube=kube,
        cache=cache,
        queue=queue,
        pace=Pace(),
        events=Events(kube, options.pod_name),
        agents=Agents(key),
        metrics=state.metrics,
        discovery=discovery,
        config=replace(options.config, agent_key=key),
        clock=clock,
    )
    if await _unless(stop, fill(kube, cache, queue, options.namespace)):
        state.ready = True
        sweeper = Sweeper(kube, cache, queue, options.namespace)
        sweeper.soon()  # for what changes between the lists above and kopf's own
        for number in range(options.workers):
            start(f"worker {number}", work(ctx))
        start("sweeper", sweeper.run())
        start("events", ctx.events.run())
        start("discovery", discovery.run())
        start("progress", follow_jobs(ctx))
        start("watches", watch(cache, queue, namespace=options.namespace, relisted=sweeper.soon, stop=stop))
        logger.info("ready: serving %s", options.namespace or "all namespaces")
        await stop.wait()
    logger.info("stopping")
    for part in parts:
        if part.get_name() != "watches":  # kopf ends by itself, but takes its time
            part.cancel()
    await asyncio.wait(parts, timeout=FINISH_SECONDS)
    await ctx.agents.close()
    if leader is not None:
        await leader.release()
    for part in parts:
        if part.done() and not part.cancelled() and part.exception() is not None:
            logger.critical("%s has ended", part.get_name())
            part.result()


async def _unless(stop: asyncio.Event, work_to_do: Coroutine[None, None, None]) -> bool:
    """Do something to its end; return False if `stop` was set before."""
    task = asyncio.ensure_future(work_to_do)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return False
    task.result()
    return True
