"""The operator as a whole: what is started, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ftjob.control import health
from ftjob.control.agent_key import agent_key
from ftjob.control.cache import Cache
from ftjob.control.context import Context
from ftjob.control.events import Events
from ftjob.control.leader import Leader
from ftjob.control.metrics import Metrics
from ftjob.control.progress import pull_progress
from ftjob.control.queue import Queue
from ftjob.control.status import Pace
from ftjob.control.sync import Sweeper, fill
from ftjob.control.watch import watch
from ftjob.control.workers import work
from ftjob.kube.http import HttpKube

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ftjob.plan.decision import Config

FINISH_SECONDS = 5.0

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
    """Run the operator until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    queue, metrics = Queue(), Metrics()
    state = health.Health(queue, metrics)
    web = await health.serve(health.app(state), {options.health_port, options.metrics_port})
    try:
        async with HttpKube(on_request=metrics.request) as kube:
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
            if leader is not None:
                await leader.release()
    finally:
        await web.cleanup()


async def _lead(
    options: Options, kube: HttpKube, leader: Leader | None, state: health.Health, stop: asyncio.Event
) -> None:
    """Do an operator's work until `stop` is set."""
    queue, cache = state.queue, Cache()
    state.metrics.watch(cache, queue)
    background = [asyncio.create_task(leader.keep(), name="lease")] if leader else []
    try:
        key = await agent_key(kube, options.pod_namespace)
        ctx = Context(
            kube=kube,
            cache=cache,
            queue=queue,
            pace=Pace(),
            events=Events(kube, options.pod_name),
            metrics=state.metrics,
            config=replace(options.config, agent_key=key),
        )
        if not await _unless(stop, fill(kube, cache, queue, options.namespace)):
            return
        state.ready = True
        sweeper = Sweeper(kube, cache, queue, options.namespace)
        sweeper.soon()  # what changed between the list above and kopf's own
        workers = [asyncio.create_task(work(ctx), name=f"worker {i}") for i in range(options.workers)]
        background += [
            *workers,
            asyncio.create_task(sweeper.run(), name="sweeper"),
            asyncio.create_task(ctx.events.run(), name="events"),
            asyncio.create_task(pull_progress(ctx), name="progress"),
        ]
        for task in background:
            task.add_done_callback(lambda done: _must_not_end(done, stop))
        logger.info("ready: serving %s", options.namespace or "all namespaces")
        await watch(cache, queue, namespace=options.namespace, relisted=sweeper.soon, stop=stop)
        for task in background:
            if task.done() and not task.cancelled():
                task.result()  # raises what ended it
    finally:
        for task in background:
            task.cancel()
        await asyncio.wait(background, timeout=FINISH_SECONDS) if background else None


def _must_not_end(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Stop everything when a part has died; a new process is better than half a one."""
    if not task.cancelled():
        logger.critical("%s has ended: %r", task.get_name(), task.exception())
        stop.set()


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
