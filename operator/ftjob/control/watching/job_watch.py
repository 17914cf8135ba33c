"""kopf hosts the watches: each event goes into the cache, and its job's key into the queue; nothing more."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import kopf

from ftjob.control.credentials import connection_info
from ftjob.control.watching.feed import feed, watched
from ftjob.control.watching.kopf_tap import tapped_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue
    from ftjob.control.watching.kopf_tap import Take
    from ftjob.kube.resources import Resource


async def watch(
    cache: Cache, queue: Queue, *, namespace: str | None, relisted: Callable[[], None], stop: asyncio.Event
) -> None:
    """Feed the cache until `stop` is set.

    Parameters
    ----------
    namespace
        The one namespace to serve; None for all.
    relisted
        Called after each list: objects that the cache knows may have been deleted unseen before it.
    """
    ignored = asyncio.all_tasks()
    # For kopf's peering, which is off; left alone, kopf asks for the user's name, and UID 65532 has none.
    identity: Any = "ftjob-operator"
    tasks = await kopf.spawn_tasks(
        registry=registry(cache, queue, relisted=relisted),
        settings=settings(watched(cache.served)),
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
        standalone=True,
        identity=identity,
        stop_flag=stop,
    )
    stop_on_signals(stop)  # kopf has just taken them
    await kopf.run_tasks(tasks, ignored=ignored)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def registry(cache: Cache, queue: Queue, *, relisted: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return kopf's registry: how to log in, and which kinds to watch."""
    found = kopf.OperatorRegistry()

    take: Take = partial(feed, cache, queue)

    @kopf.on.login(registry=found)
    async def login(**_: Any) -> kopf.AiohttpSession:
        info = connection_info()
        return kopf.AiohttpSession(
            server=info.server,
            default_namespace=info.default_namespace,
            aiohttp_session=tapped_session(info, [r for r, _ in watched(cache.served)], take, relisted),
        )

    def handle(resource: Resource) -> None:
        name = f"{resource.plural}.{resource.group}"

        @kopf.on.event(resource.group, resource.version, resource.plural, registry=found, id=name)
        async def seen(event: kopf.RawEvent, **_: Any) -> None:
            take(resource, event["type"], event["object"])

    for resource, _ in watched(cache.served):
        handle(resource)
    return found


def settings(kinds: tuple[tuple[Resource, str], ...]) -> kopf.OperatorSettings:
    """Return kopf's settings: a host of watches that writes nothing."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.peering.standalone = True
    found.scanning.disabled = True
    found.watching.chunk_size = 500
    found.execution.max_workers = 1
    for resource, selector in kinds:
        if selector:
            found.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return found
