"""The watches of what belongs to jobs: one for each kind that is served, while it is served."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from ftjob.control.watching.feed import feed, watched
from ftjob.control.watching.reflector import Reflector
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue
    from ftjob.control.watching.discovery import Discovery, Served
    from ftjob.control.watching.signs import Signs
    from ftjob.kube.client import Kube
    from ftjob.kube.resources import Resource


class Watches:
    """Starts and ends the reflectors.

    Parameters
    ----------
    namespaces
        Those to serve; nothing for all.
    """

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        queue: Queue,
        discovery: Discovery,
        *,
        namespaces: tuple[str, ...],
        signs: Signs,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self.signs = signs
        self._discovery = discovery
        self._make = partial(
            Reflector,
            kube,
            cache,
            take=partial(feed, cache, queue),
            signs=signs,
            missing=discovery.soon,
        )
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._running: dict[tuple[Resource, str | None], asyncio.Task[None]] = {}
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Watch what is served now; return when the cache knows all of it."""
        await self._follow(self._discovery.served)

    async def run(self) -> None:
        """Follow what is served from now on. It returns when a watch has ended, which none should."""
        changes = asyncio.create_task(self._discovery.run(self._follow))
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({changes, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (changes, ended, *self._running.values()):
                task.cancel()
        for task in (changes, *self._running.values()):
            if task.done() and not task.cancelled():
                task.result()

    async def _follow(self, served: Served) -> None:
        """Watch other kinds: what is served now, and nothing else."""
        kinds = [resource for resource in watched(served) if resource is not JOB]
        wanted = [(resource, namespace) for resource in kinds for namespace in self._namespaces]
        self._cache.served &= served
        for place in self._running.keys() - set(wanted):
            self._running.pop(place).cancel()
            for uid in self._cache.known(*place):
                self._cache.mark_gone(uid)
        news = {place: self._make(*place) for place in wanted if place not in self._running}
        for place, reflector in news.items():
            task = asyncio.create_task(reflector.run(), name=f"watch of {place[0].plural}")
            task.add_done_callback(self._note_end)
            self._running[place] = task
        for reflector in news.values():
            await reflector.listed.wait()
        if self._cache.served != served:
            self._cache.served = served
            for job in self._cache.jobs():  # what each of them waits for may be there now, or gone
                self._queue.add(job.key)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._ended.set()
