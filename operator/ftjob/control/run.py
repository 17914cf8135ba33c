"""The operator as a whole: the order in which its parts start, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ftjob.control.cache.cache import Cache
from ftjob.control.context import Context
from ftjob.control.credentials import connection_info
from ftjob.control.follow_agents import follow_jobs
from ftjob.control.leaders.agent_client import Agents
from ftjob.control.leaders.orders import Orders
from ftjob.control.observability.events import Events
from ftjob.control.observability.metrics import Metrics
from ftjob.control.observability.pace import Pace
from ftjob.control.process import health
from ftjob.control.process.agent_key import agent_key
from ftjob.control.process.clock import steady_clock
from ftjob.control.process.ending import end_in
from ftjob.control.process.lease import LeaseHolder
from ftjob.control.process.loop_lag import measure_lag
from ftjob.control.process.tasks import Tasks, unless
from ftjob.control.queue import Queue
from ftjob.control.reconcilers import reconcile_jobs
from ftjob.control.watching.discovery import Discovery
from ftjob.control.watching.feed import feed
from ftjob.control.watching.full_lists import Sweeper, fill
from ftjob.control.watching.job_watch import stop_on_signals, watch_jobs
from ftjob.control.watching.watches import Watches
from ftjob.kube.http import HttpKube
from ftjob.kube.resources import NETWORK_POLICIES, OPTIONAL
from ftjob.kube.transport import Transport

if TYPE_CHECKING:
    from ftjob.plan.plan import Config

LAST_SECONDS = 4.0
"""From the first part that ends to the end of the process, whatever the other parts still do."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How this operator was started."""

    config: Config
    namespaces: tuple[str, ...]
    """Those to serve; nothing for all."""
    pod_namespace: str
    """Where the operator itself lives: its Lease and its agent key."""
    pod_name: str
    leader_election: bool = True
    reconcilers: int = 16
    """How many jobs are looked at at the same time."""
    health_port: int = 8081
    metrics_port: int = 8080


async def run(options: Options) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Raises
    ------
    Exception
        The error that ended a task; a new process is better than half an operator.
    """
    stop = asyncio.Event()
    stop_on_signals(stop)
    queue, metrics = Queue(), Metrics()
    state = health.Health(queue, metrics)
    web = await health.serve(health.app(state), {options.health_port, options.metrics_port})
    try:
        async with Transport(read_credentials=connection_info, on_request=metrics.request) as transport:
            kube = HttpKube(transport)
            lease = None
            if options.leader_election:
                identity = f"{options.pod_name}_{uuid.uuid4().hex[:8]}"
                lease = LeaseHolder(kube, namespace=options.pod_namespace, identity=identity)
                state.ready = True  # to take over: a rolling update must not wait for the old holder
                if not await unless(stop, lease.acquire()):
                    return
                transport.before_write = lease.check
            metrics.holds_lease.set(1)
            await _operate(options, kube, lease, state, stop)
    finally:
        await web.cleanup()


async def _operate(
    options: Options, kube: HttpKube, lease: LeaseHolder | None, state: health.Health, stop: asyncio.Event
) -> None:
    """Do an operator's work until `stop` is set."""
    tasks = Tasks(stop)
    if lease is not None:
        tasks.start("lease", lease.keep())
    ctx = await _context(options, kube, state, stop)
    watches = Watches(
        kube, ctx.cache, ctx.queue, ctx.discovery, namespaces=options.namespaces, signs=state.signs
    )
    if await unless(stop, _fill(ctx, watches, options.namespaces)):
        state.ready = True
        _start_all(tasks, ctx, watches, options, stop)
        logger.info("ready: serving %s", ", ".join(options.namespaces) or "all namespaces")
        await stop.wait()
    logger.info("stopping")
    end_in(LAST_SECONDS)
    await tasks.finish()
    await ctx.orders.close()
    await ctx.agents.close()
    if lease is not None:
        await lease.release()
    tasks.raise_error()


async def _context(options: Options, kube: HttpKube, state: health.Health, stop: asyncio.Event) -> Context:
    """Find out the key and the kinds that are served, which come before the first list."""
    clock = steady_clock()
    cache = Cache(clock=clock)
    state.metrics.watch(cache, state.queue)
    key = await agent_key(kube, options.pod_namespace)
    agents = Agents(key)
    made = options.config.network_policy_from is not None
    discovery = Discovery(kube, (*OPTIONAL, NETWORK_POLICIES) if made else OPTIONAL)
    await unless(stop, discovery.start())
    return Context(
        kube=kube,
        cache=cache,
        queue=state.queue,
        pace=Pace(),
        events=Events(kube, options.pod_name),
        agents=agents,
        orders=Orders(agents, cache, state.queue),
        metrics=state.metrics,
        discovery=discovery,
        config=replace(options.config, agent_key=key),
        clock=clock,
    )


async def _fill(ctx: Context, watches: Watches, namespaces: tuple[str, ...]) -> None:
    """Read everything once, so that no decision is made on half of the facts."""
    await watches.start()
    await fill(ctx.kube, ctx.cache, ctx.queue, namespaces)


def _start_all(tasks: Tasks, ctx: Context, watches: Watches, options: Options, stop: asyncio.Event) -> None:
    """Start the tasks that run side by side once the cache is filled."""
    sweeper = Sweeper(ctx.kube, ctx.cache, ctx.queue, options.namespaces)
    sweeper.soon()  # for what changes between the list that filled the cache and kopf's own
    for number in range(options.reconcilers):
        tasks.start(f"reconciler {number}", reconcile_jobs(ctx))  # the name in logs is that of --workers
    tasks.start("sweeper", sweeper.run())
    tasks.start("events", ctx.events.run())
    tasks.start("loop lag", measure_lag(ctx.metrics.loop_lag_seconds.observe))
    tasks.start("progress", follow_jobs(ctx))
    tasks.start("watches", watches.run())
    jobs = watch_jobs(
        partial(feed, ctx.cache, ctx.queue),
        namespaces=options.namespaces,
        signs=watches.signs,
        relisted=sweeper.soon,
        stop=stop,
    )
    tasks.start("watch of jobs", jobs, ends_by_itself=True)
