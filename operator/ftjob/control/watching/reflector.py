"""Keeps the cache up to date about one kind: a list, a watch from there on, and both again when it breaks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from ftjob.control.watching.feed import ESSENTIAL, selector_of
from ftjob.kube.errors import ApiError, ForbiddenError, GoneError, NotFoundError
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.cache.cache import Cache
    from ftjob.control.watching.feed import Take
    from ftjob.control.watching.signs import Signs
    from ftjob.kube.client import Kube
    from ftjob.kube.resources import Resource

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
GOOD_SECONDS = 30.0
"""A watch that lived so long was no failure: the next one begins at once."""

logger = logging.getLogger(__name__)


class Reflector:
    """Lists and watches one kind until it is cancelled, whatever the API server answers.

    Parameters
    ----------
    namespace
        None for all namespaces.
    missing
        Called when the API server does not serve the kind.
    """

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        resource: Resource,
        namespace: str | None,
        *,
        take: Take,
        signs: Signs,
        missing: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._resource = resource
        self._namespace = namespace
        self._take = take
        self._signs = signs
        self._missing = missing
        self._name = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
        if namespace is not None:
            self._name += f" in {namespace}"
        self._is_essential = resource in ESSENTIAL
        self.listed = asyncio.Event()
        """Set once the cache knows all objects, or once a refusal says that nobody can wait for that."""

    async def run(self) -> None:
        """Follow the kind."""
        failures = 0
        self._signs.seen(self._name)
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._follow(await self._list())
                except ApiError as error:
                    self._explain(error)
                failures = 0 if time.monotonic() - began > GOOD_SECONDS else min(failures + 1, 10)
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**failures)
                await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
        finally:
            self._signs.forget(self._name)

    async def _list(self) -> str:
        """Take all objects in, and the end of those that are gone; return the list's version."""
        before = self._cache.known(
            self._resource, self._namespace
        )  # what comes later need not be in the list
        found, version = set[str](), ""
        pages = self._kube.list_pages(self._resource, self._namespace, selector=selector_of(self._resource))
        async for page in pages:
            version = page.version
            for body in page.items:
                found.add(body["metadata"]["uid"])
                self._take(self._resource, None, body)
        for uid in before.keys() - found:
            gone = {"uid": uid, "namespace": before[uid].namespace, "name": before[uid].name}
            self._take(self._resource, "DELETED", {"metadata": gone})
        self._signs.seen(self._name)
        self.listed.set()
        if self._namespace is not None:
            self._cache.closed.discard((self._namespace, self._resource.kind))
        return version

    async def _follow(self, version: str) -> None:
        """Watch from a version on, again and again, until that fails."""
        resource, selector = self._resource, selector_of(self._resource)
        while True:
            events = self._kube.watch(resource, self._namespace, selector=selector, version=version)
            async for event_type, body in events:
                version = body["metadata"]["resourceVersion"]
                self._signs.seen(self._name)
                if event_type != "BOOKMARK":
                    self._take(resource, event_type, body)

    def _explain(self, error: ApiError) -> None:
        if isinstance(error, GoneError):
            logger.debug("the watch of %s has fallen behind; listing anew", self._name)
            return
        logger.warning("no watch of %s (%s); trying again", self._name, error)
        if not self._is_essential:
            # Such as a scheduler's, uninstalled: nothing to hear of is not silence.
            self._signs.seen(self._name)
            self.listed.set()
        if isinstance(error, NotFoundError):
            self._missing()
        elif isinstance(error, ForbiddenError) and self._namespace is not None:
            self._close(self._namespace)

    def _close(self, namespace: str) -> None:
        """Have the jobs of a namespace wait that may not be read, for its Role was deleted, and no others."""
        if not self.listed.is_set():
            self._cache.closed |= {(namespace, self._resource.kind), (namespace, JOB.kind)}
            self.listed.set()
        self._signs.seen(self._name)
