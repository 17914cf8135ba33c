"""Full lists: the first filling of the cache, and now and then a look for what the watches have missed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ftjob.control.cache.cache import Known
from ftjob.control.cache.ownership import owner_of
from ftjob.control.cache.versions import is_newer
from ftjob.control.watching.feed import feed, selector_of, watched
from ftjob.kube.errors import ApiError, ForbiddenError, NotFoundError
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue
    from ftjob.kube.client import Kube
    from ftjob.kube.resources import Resource

EVERY_SECONDS = 600.0
SETTLE_SECONDS = 0.5
RETRY_SECONDS = 5.0

logger = logging.getLogger(__name__)


async def fill(kube: Kube, cache: Cache, queue: Queue, namespaces: tuple[str, ...]) -> None:
    """Read all jobs once; waits for the CRD.

    A namespace that may not be read keeps no other waiting: it is left for the sweeps.

    Parameters
    ----------
    namespaces
        Those to read; nothing for all.
    """
    await asyncio.gather(*(_fill(kube, cache, queue, namespace) for namespace in namespaces or (None,)))


async def _fill(kube: Kube, cache: Cache, queue: Queue, namespace: str | None) -> None:
    where = f" in namespace {namespace}" if namespace else ""
    while True:
        try:
            async for page in kube.list_pages(JOB, namespace):
                for body in page.items:
                    feed(cache, queue, JOB, None, body)
        except NotFoundError as error:
            logger.warning("no %s to list%s; is the CRD installed? (%s)", JOB.plural, where, error)
        except ApiError as error:
            logger.warning("can't list %s%s: %s", JOB.plural, where, error)
            if namespace is not None and isinstance(error, ForbiddenError):
                cache.closed.add((namespace, JOB.kind))
                return
        else:
            return
        await asyncio.sleep(RETRY_SECONDS)


class Sweeper:
    """Finds what vanished or changed unseen.

    kopf lists jobs anew when their watch has fallen too far behind or was refused, and says nothing of those
    that were deleted in the meantime; and a watch may be silent for reasons of its own. So metadata is
    compared with the cache: that of jobs soon after each such list, and that of everything every ten minutes.
    """

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        queue: Queue,
        namespaces: tuple[str, ...],
        *,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._settle = settle_seconds
        self._kube = kube
        self._cache = cache
        self._queue = queue
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """Have the jobs compared soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        everything = loop.time() + EVERY_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(everything):
                    await self._wanted.wait()
                    await asyncio.sleep(self._settle)
                self._wanted.clear()
                kinds: tuple[Resource, ...] = (JOB,)
            except TimeoutError:
                everything = loop.time() + EVERY_SECONDS
                kinds = watched(self._cache.served)
            for resource in kinds:
                if not await self.sweep(resource) or self._cache.closed:
                    self._wanted.set()
                    await asyncio.sleep(RETRY_SECONDS)

    async def sweep(self, resource: Resource) -> bool:
        """Compare a kind once; return whether that worked in every namespace."""
        worked = True
        for namespace in self._namespaces:
            try:
                await self._sweep(resource, namespace)
                if resource is JOB and namespace is not None:
                    self._open(namespace)
            except ApiError as error:  # the other namespaces have nothing to do with it
                where = namespace or "the cluster"
                logger.warning("can't compare %s with %s: %s", resource.plural, where, error)
                worked = False
        return worked

    def _open(self, namespace: str) -> None:
        """Give the jobs of a namespace out once all of it was read: the jobs come last."""
        if {kind for closed, kind in self._cache.closed if closed == namespace} == {JOB.kind}:
            self._cache.closed.discard((namespace, JOB.kind))
            logger.info("namespace %s can be read now", namespace)
            for job in self._cache.jobs():
                if job.namespace == namespace:
                    self._queue.add(job.key)

    async def _sweep(self, resource: Resource, namespace: str | None) -> None:
        """Compare. If the list is ahead of the cache, give the watch time to bring the news."""
        before = self._cache.known(resource, namespace)  # what comes later need not be in the list
        listed: dict[str, Known] = {}
        selector = selector_of(resource)
        async for page in self._kube.list_pages(resource, namespace, selector=selector, metadata_only=True):
            for item in page.items:
                if resource is not JOB and owner_of(resource, item) is None:
                    continue  # a stranger with our labels
                meta = item["metadata"]
                listed[meta["uid"]] = Known(meta["namespace"], meta["name"], meta["resourceVersion"])
        known = self._cache.known(resource, namespace)
        vanished = before.keys() & known.keys() - listed.keys()
        if vanished or any(_is_news(found, known.get(uid)) for uid, found in listed.items()):
            await asyncio.sleep(self._settle)
            known = self._cache.known(resource, namespace)
        for uid, found in listed.items():
            if not self._cache.is_deleted(uid) and _is_news(found, known.get(uid)):
                await self._read(resource, found.namespace, found.name, uid)
        for uid in vanished & known.keys():
            await self._read(resource, known[uid].namespace, known[uid].name, uid)

    async def _read(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Read one object; it may be gone, or another one may have its name."""
        try:
            body = await self._kube.get(resource, namespace, name)
        except NotFoundError:
            body = None
        if body is not None:
            feed(self._cache, self._queue, resource, None, body)
        if body is None or body["metadata"]["uid"] != uid:
            gone = {"metadata": {"uid": uid, "namespace": namespace, "name": name}}
            feed(self._cache, self._queue, resource, "DELETED", gone)


def _is_news(listed: Known, known: Known | None) -> bool:
    """Whether the cache does not know a listed object, or only an older version."""
    return is_newer(listed.version, known.version if known else None)
