"""kopf hosts the watches: each event goes into the cache, and its job's key into the queue; nothing more."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import kopf

from ftjob.api.names import LABEL_UID
from ftjob.kube.credentials import connection_info
from ftjob.kube.port import JOB, POD, SERVICE, Resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.cache import Cache
    from ftjob.control.queue import Key, Queue

OURS = LABEL_UID
"""Label selector of what belongs to jobs: the label exists."""

WATCHED = ((JOB, ""), (POD, OURS), (SERVICE, OURS))


async def watch(
    cache: Cache, queue: Queue, *, namespace: str | None, relisted: Callable[[], None], stop: asyncio.Event
) -> None:
    """Feed the cache until `stop` is set.

    Parameters
    ----------
    namespace
        The one namespace to serve; None for all.
    relisted
        Called for each object of a full list: some that the cache knows may have gone unseen before it.
    """
    ignored = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(cache, queue, relisted=relisted),
        settings=settings(),
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
        standalone=True,
        stop_flag=stop,
    )
    stop_on_signals(stop)  # kopf has just taken them
    await kopf.run_tasks(tasks, ignored=ignored)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def registry(cache: Cache, queue: Queue, *, relisted: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return kopf's handlers: one for each kind."""
    found = kopf.OperatorRegistry()

    @kopf.on.login(registry=found)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info()

    def handle(resource: Resource) -> None:
        @kopf.on.event(resource.group, resource.version, resource.plural, registry=found, id=resource.plural)
        async def seen(event: kopf.RawEvent, **_: Any) -> None:
            if event["type"] is None:
                relisted()
            key = take_in(cache, resource, event["type"], event["object"])
            if key is not None:
                queue.add(key)

    for resource, _ in WATCHED:
        handle(resource)
    return found


def take_in(cache: Cache, resource: Resource, kind: str | None, body: Any) -> Key | None:
    """Put an event into the cache; return the key of the job that has to be looked at."""
    deleted = kind == "DELETED"
    if resource is JOB:
        return cache.see_job_deleted(body) if deleted else cache.see_job(body)
    if resource is POD:
        return cache.see_pod_deleted(body) if deleted else cache.see_pod(body)
    return cache.see_object_deleted(body["metadata"]["uid"]) if deleted else cache.see_object(resource, body)


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: a host of watches that writes nothing."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.peering.standalone = True
    found.scanning.disabled = True
    found.persistence.diffbase_storage = NoDiff()
    found.watching.chunk_size = 500
    # A worker per object lives on for so long after its last event; pods' events come in bursts.
    found.queueing.idle_timeout = 1.0
    found.execution.max_workers = 1
    for resource, selector in WATCHED:
        if selector:
            found.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
    return found


class NoDiff(kopf.DiffBaseStorage):
    """Keeps kopf from copying each object to compare it with its last state: handlers of events need none."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return an empty essence."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return no last state."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""
