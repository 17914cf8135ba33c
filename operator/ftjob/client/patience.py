"""For how long a cluster may be out of reach before whoever follows it gives up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.client.errors import ClusterError

UNREACHABLE_SECONDS = 120.0


class Patience:
    """Counts from the first failure after the last answer."""

    def __init__(self) -> None:
        self._lost_since: float | None = None

    def heard(self) -> None:
        """Note that the cluster has answered."""
        self._lost_since = None

    def lost(self, error: ClusterError) -> None:
        """Note that it has not; raise the error if that lasts for two minutes."""
        now = time.monotonic()
        if self._lost_since is None:
            self._lost_since = now
        if now - self._lost_since >= UNREACHABLE_SECONDS:
            raise error
