"""kopf hosts the watches: each event goes into the cache, and its job's key into the queue; nothing more."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import kopf

from ftjob.control.process.credentials import connection_info
from ftjob.control.watching.kopf_tap import tapped_session
from ftjob.kube.resources import JOB, POD, SERVICE, Resource, in_use
from ftjob.models.names import LABEL_UID, POD_GROUP, WORKLOAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.queue import Key, Queue
    from ftjob.control.watching.cache import Cache

OURS = LABEL_UID
"""Label selector of what belongs to jobs: the label exists."""


def watched(served: frozenset[tuple[str, str]]) -> tuple[tuple[Resource, str], ...]:
    """Return what is watched, each kind with its label selector."""
    return ((JOB, ""), (POD, OURS), (SERVICE, OURS), *((resource, OURS) for resource in in_use(served)))


async def watch(
    cache: Cache, queue: Queue, *, namespace: str | None, relisted: Callable[[], None], stop: asyncio.Event
) -> None:
    """Feed the cache until `stop` is set.

    Parameters
    ----------
    namespace
        The one namespace to serve; None for all.
    relisted
        Called after each list: some objects that the cache knows may have gone unseen before it.
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
    """Return what kopf has to know: how to log in, and what to watch."""
    found = kopf.OperatorRegistry()

    def take(resource: Resource, kind: str | None, body: Any) -> None:
        key = take_in(cache, resource, kind, body)
        if key is not None:
            queue.add(key)

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


def take_in(cache: Cache, resource: Resource, kind: str | None, body: Any) -> Key | None:
    """Put an event into the cache; return the key of the job that has to be looked at."""
    deleted = kind == "DELETED"
    if resource is JOB:
        return cache.see_job_deleted(body) if deleted else cache.see_job(body)
    if resource is POD:
        return cache.see_pod_deleted(body) if deleted else cache.see_pod(body)
    if deleted:
        return cache.see_object_deleted(body["metadata"]["uid"])
    if resource.kind in {POD_GROUP, WORKLOAD}:
        return cache.see_other(resource, typed(resource, body))
    return cache.see_object(resource, body)


def typed(resource: Resource, body: Any) -> Any:
    """Return an object with its type, which items of a list don't have."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


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
