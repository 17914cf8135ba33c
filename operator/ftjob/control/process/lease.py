"""One operator works, the others wait: whichever holds the Lease (coordination.k8s.io)."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ftjob.control.process.clock import boot_time
from ftjob.kube.errors import ApiError, ConflictError, NotFoundError
from ftjob.kube.resources import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.kube.client import Kube
    from ftjob.models.manifest import Manifest

NAME = "ftjob-operator"
LEASE_SECONDS = 15.0
"""Others take over when a Lease has not changed for so long, by their own clock."""

RENEW_SECONDS = 10.0
"""The holder stops writing so long after it sent its last renewal: 5 s before anyone takes over."""

RETRY_SECONDS = 3.0
"""Between two tries to take or renew the Lease; three fit into the time until a holder leaves."""

logger = logging.getLogger(__name__)


class LeaseHolder:
    """Takes the Lease and holds it, or ends the process.

    Parameters
    ----------
    identity
        Unique to this process.
    leave
        Ends the process at once; a holder that is not sure any more must not run a line further.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = boot_time,
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._leave = leave
        self._lease: Manifest | None = None
        self._deadline = float("-inf")

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        seen, since = "", self._clock()
        while True:
            try:
                lease = await self._read()
                version = lease["metadata"]["resourceVersion"] if lease else ""
                if version != seen:
                    seen, since = version, self._clock()
                if self._is_free(lease, since) and await self._take(lease):
                    logger.info("leader: %s", self._identity)
                    return
            except ConflictError:
                pass  # someone else was faster
            except ApiError as error:
                logger.warning("Lease %s/%s: %s", self._namespace, NAME, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def keep(self) -> None:
        """Renew the Lease until cancelled; end the process when it is lost."""
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                async with asyncio.timeout(max(0.1, self._deadline - self._clock())):
                    await self._renew()
            except ConflictError:
                self._lost("another operator has taken the Lease")
            except TimeoutError:
                self._lost("the API server did not answer in time")
            except ApiError as error:
                logger.warning("Lease not renewed: %s", error)
            self.check()

    def check(self) -> None:
        """End the process if the Lease may be someone else's by now. Called before each write."""
        if self._clock() > self._deadline:
            self._lost("not renewed in time")

    async def release(self) -> None:
        """Give the Lease up, so that the next holder need not wait until it expires."""
        if self._lease is None:
            return
        self._lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._kube.replace(self._lease)
        except (ApiError, TimeoutError) as error:
            logger.warning("Lease not released: %r", error)

    def _is_free(self, lease: Manifest | None, since: float) -> bool:
        spec = (lease or {}).get("spec") or {}
        holder = spec.get("holderIdentity")
        seconds = float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        return not holder or holder == self._identity or self._clock() - since > seconds

    async def _read(self) -> Manifest | None:
        try:
            return await self._kube.get(LEASE, self._namespace, NAME)
        except NotFoundError:
            return None

    async def _take(self, lease: Manifest | None) -> bool:
        sent = self._clock()
        old = (lease or {}).get("spec") or {}
        manifest = lease or {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": NAME, "namespace": self._namespace},
        }
        manifest["spec"] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(LEASE_SECONDS),
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (1 if lease else 0),
        }
        self._lease = await (self._kube.replace(manifest) if lease else self._kube.create(manifest))
        self._deadline = sent + RENEW_SECONDS
        return True

    async def _renew(self) -> None:
        assert self._lease is not None
        sent = self._clock()
        try:
            manifest = {**self._lease, "spec": {**self._lease["spec"], "renewTime": _now()}}
            self._lease = await self._kube.replace(manifest)
        except ConflictError:
            # Ours after all, if an earlier renewal arrived without its answer reaching us.
            lease = await self._read()
            if not lease or lease["spec"].get("holderIdentity") != self._identity:
                raise
            self._lease = lease
            return
        self._deadline = sent + RENEW_SECONDS

    def _lost(self, why: str) -> None:
        logger.critical("not the leader any more (%s): leaving at once", why)
        self._leave(1)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
