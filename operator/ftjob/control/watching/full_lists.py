"""Full lists: the first filling of the cache, and now and then a look for what the watches have missed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ftjob.control.cache.cache import Known
from ftjob.control.cache.ownership import owner_of
from ftjob.control.cache.versions import is_newer
from ftjob.control.watching.feed import feed, watched
from ftjob.kube.errors import ApiError, NotFoundError
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue
    from ftjob.kube.client import Kube
    from ftjob.kube.resources import Resource

EVERY_SECONDS = 600.0
SETTLE_SECONDS = 5.0
RETRY_SECONDS = 5.0

logger = logging.getLogger(__name__)


async def fill(kube: Kube, cache: Cache, queue: Queue, namespace: str | None) -> None:
    """Read everything once, so that no decision is made on half of the facts; waits for the CRD."""
    for resource, selector in watched(cache.served):
        while True:
            try:
                async for page in kube.list_pages(resource, namespace, selector=selector):
                    for body in page:
                        feed(cache, queue, resource, None, body)
                break
            except NotFoundError as error:
                hint = "; is the CRD installed?" if resource is JOB else ""
                logger.warning("no %s to list%s (%s)", resource.plural, hint, error)
            except ApiError as error:
                logger.warning("can't list %s: %s", resource.plural, error)
            await asyncio.sleep(RETRY_SECONDS)


class Sweeper:
    """Finds what vanished or changed unseen.

    kopf lists anew when a watch has fallen too far behind, and says nothing of objects that were deleted
    in the meantime; and a watch may be silent for reasons of its own. So the metadata of everything is
    compared with the cache soon after each such list, and every ten minutes.
    """

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        queue: Queue,
        namespace: str | None,
        *,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._settle = settle_seconds
        self._kube = kube
        self._cache = cache
        self._queue = queue
        self._namespace = namespace
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """Have a sweep made soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wanted.wait()
                await asyncio.sleep(self._settle)
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                await self.sweep()
            except ApiError as error:
                logger.warning("can't compare the cache with the cluster: %s", error)

    async def sweep(self) -> None:
        """Compare once. If a list is ahead of the cache, give the watches time to bring the news first."""
        for resource, selector in watched(self._cache.served):
            before = self._cache.known(resource)  # what comes later need not be in the list
            listed: dict[str, Known] = {}
            pages = self._kube.list_pages(resource, self._namespace, selector=selector, metadata_only=True)
            async for page in pages:
                for item in page:
                    if resource is not JOB and owner_of(resource, item) is None:
                        continue  # a stranger with our labels
                    meta = item["metadata"]
                    listed[meta["uid"]] = Known(meta["namespace"], meta["name"], meta["resourceVersion"])
            known = self._cache.known(resource)
            vanished = before.keys() & known.keys() - listed.keys()
            if vanished or any(_is_news(found, known.get(uid)) for uid, found in listed.items()):
                await asyncio.sleep(self._settle)
                known = self._cache.known(resource)
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
