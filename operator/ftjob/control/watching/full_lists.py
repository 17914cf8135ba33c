"""Full lists: the first filling of the cache, and now and then a look for what the watches have missed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ftjob.control.watching.cache import is_newer
from ftjob.control.watching.watch import take_in, watched
from ftjob.kube.errors import ApiError, NotFoundError
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from ftjob.control.queue import Queue
    from ftjob.control.watching.cache import Cache
    from ftjob.kube.client import Kube
    from ftjob.kube.resources import Resource

EVERY_SECONDS = 600.0
SETTLE_SECONDS = 5.0
RETRY_SECONDS = 5.0

_NOWHERE: tuple[str, str, str | None] = ("", "", None)

logger = logging.getLogger(__name__)


async def fill(kube: Kube, cache: Cache, queue: Queue, namespace: str | None) -> None:
    """Read everything once, so that no decision is made on half of the facts; waits for the CRD."""
    for resource, selector in watched(cache.served):
        while True:
            try:
                async for page in kube.list_pages(resource, namespace, selector=selector):
                    for body in page:
                        key = take_in(cache, resource, None, body)
                        if key is not None:
                            queue.add(key)
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
        """Compare once; what the watches bring while we wait is no loss."""
        for resource, selector in watched(self._cache.served):
            listed: dict[str, tuple[str, str, str]] = {}
            pages = self._kube.list_pages(resource, self._namespace, selector=selector, metadata_only=True)
            async for page in pages:
                for item in page:
                    meta = item["metadata"]
                    listed[meta["uid"]] = (meta["namespace"], meta["name"], meta["resourceVersion"])
            before = self._cache.known(resource)
            if any(is_newer(place[2], before.get(uid, _NOWHERE)[2]) for uid, place in listed.items()):
                await asyncio.sleep(self._settle)
            known = self._cache.known(resource)
            for uid, (namespace, name, version) in listed.items():
                if not self._cache.is_buried(uid) and is_newer(version, known.get(uid, _NOWHERE)[2]):
                    await self._read(resource, namespace, name, uid)
            for uid in before.keys() & known.keys() - listed.keys():
                namespace, name, _ = known[uid]
                await self._read(resource, namespace, name, uid)

    async def _read(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Read one object; it may be gone, or another one may have its name."""
        try:
            body = await self._kube.get(resource, namespace, name)
        except NotFoundError:
            body = None
        keys = []
        if body is not None:
            keys.append(take_in(self._cache, resource, None, body))
        if body is None or body["metadata"]["uid"] != uid:
            gone = {"metadata": {"uid": uid, "namespace": namespace, "name": name}}
            keys.append(take_in(self._cache, resource, "DELETED", gone))
        for key in keys:
            if key is not None:
                self._queue.add(key)
