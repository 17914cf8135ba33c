"""Which optional kinds the API server serves: PodGroups of gang schedulers, and Kueue's Workloads."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ftjob.kube.errors import ApiError
from ftjob.kube.resources import OPTIONAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ftjob.kube.client import Kube
    from ftjob.kube.resources import Resource

    Served = frozenset[tuple[str, str]]

EVERY_SECONDS = 60.0
SETTLE_SECONDS = 2.0
RETRY_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Discovery:
    """Asks now and then whether the API server still serves the same kinds.

    Parameters
    ----------
    families
        The kinds that this operator uses where they are served, each in its versions.
    """

    def __init__(self, kube: Kube, families: tuple[tuple[Resource, ...], ...] = OPTIONAL) -> None:
        self._kube = kube
        self._families = families
        self._wanted = asyncio.Event()
        self.served: Served = frozenset()
        """(apiVersion, kind) of the optional kinds that are there."""

    def soon(self) -> None:
        """Have it ask again soon: a kind was not there."""
        self._wanted.set()

    async def has_news(self) -> bool:
        """Ask now; if other kinds are served than were known, `run` says so soon.

        Raises
        ------
        ApiError
        """
        is_new = await self._ask() != self.served
        if is_new:
            self.soon()
        return is_new

    async def start(self) -> None:
        """Ask for the first time; wait for an answer."""
        while True:
            try:
                self.served = await self._ask()
                break
            except ApiError as error:
                logger.warning("can't ask the API server what it serves: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
        if self.served:
            logger.info("served: %s", _listed(self.served))

    async def run(self, changed: Callable[[Served], Awaitable[None]]) -> None:
        """Ask every minute, and soon after a kind was missing; say when the answer has changed."""
        while True:
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wanted.wait()
                await asyncio.sleep(SETTLE_SECONDS)
            except TimeoutError:
                pass
            self._wanted.clear()
            try:
                now = await self._ask()
            except ApiError as error:
                logger.warning("can't ask the API server what it serves: %s", error)
                continue
            if now != self.served:
                logger.info("served: %s; so far: %s", _listed(now) or "none", _listed(self.served) or "none")
                self.served = now
                await changed(now)

    async def _ask(self) -> Served:
        known = {(resource.api_version, resource.kind) for family in self._families for resource in family}
        return frozenset(await self._kube.served() & known)


def _listed(served: Served) -> str:
    return ", ".join(f"{kind} {version}" for version, kind in sorted(served))
