"""Objects that all jobs of a namespace share, and that nobody watches: they are known for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HOLDS_SECONDS = 20.0
"""After so long an object may have been deleted by somebody: it is created again, and mostly it is there."""


class Shared:
    """(kind, name) of what was seen to exist, by namespace.

    Parameters
    ----------
    clock
        Unix time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, dict[tuple[str, str], float]] = {}

    def note(self, namespace: str, kind: str, name: str) -> None:
        """Note that an object exists now."""
        self._seen = {space: found for space in self._seen if (found := self._fresh(space))}
        self._seen.setdefault(namespace, {})[kind, name] = self._clock()

    def of(self, namespace: str) -> frozenset[tuple[str, str]]:
        """Return what existed a moment ago."""
        return frozenset(self._fresh(namespace))

    def _fresh(self, namespace: str) -> dict[tuple[str, str], float]:
        since = self._clock() - HOLDS_SECONDS
        return {what: seen for what, seen in self._seen.get(namespace, {}).items() if seen > since}
