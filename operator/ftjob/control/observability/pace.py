"""How soon a difference in status is written."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from ftjob.models.status import ConditionType

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRESS_SECONDS = 30.0

COUNTS_SECONDS = 5.0

SLOW_WRITES_PER_SECOND = 20.0

RUNNING = ConditionType.RUNNING.value


class Urgency(IntEnum):
    """How soon a difference has to be written."""

    NOW = 0
    COUNTS = 1
    """How many pods are ready or wait, how many steps there will be: soon, but not once for each pod."""
    PROGRESS = 2
    """Numbers that are out of date as soon as they are written."""


_SLOW_FIELDS = {
    "progress": Urgency.PROGRESS,
    "activeSeconds": Urgency.PROGRESS,
    "display": Urgency.PROGRESS,
    "roles": Urgency.COUNTS,
    "workers": Urgency.COUNTS,
}


class Pace:
    """Keeps slow status writes slow: every 30 s per job, and 20 a second in all.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._next_slot = 0.0

    def wait(self, uid: str, urgency: Urgency) -> float:
        """Return how many seconds the write has to wait; 0 allows it now."""
        if urgency is Urgency.NOW:
            return 0.0
        now = self._clock()
        gap = PROGRESS_SECONDS if urgency is Urgency.PROGRESS else COUNTS_SECONDS
        left = self._last.get(uid, float("-inf")) + gap - now
        if left > 0:
            return left
        if self._next_slot > now:
            return self._next_slot - now
        self._next_slot = max(self._next_slot, now - 1.0) + 1.0 / SLOW_WRITES_PER_SECOND
        return 0.0

    def wrote(self, uid: str) -> None:
        """Note a write of this job's status."""
        now = self._clock()
        self._last.pop(uid, None)
        self._last[uid] = now  # at the end: the dict is in the order of time
        while self._last:
            oldest = next(iter(self._last))
            if now - self._last[oldest] < PROGRESS_SECONDS:
                return
            del self._last[oldest]


def urgency_of(patch: dict[str, Any], old: dict[str, Any], *, effects: bool) -> Urgency:
    """Return how soon a patch has to be written.

    Parameters
    ----------
    effects
        Whether pods will be created or deleted because of what the patch says: then their counts
        (``succeededIndexes``) are intent, and come first.
    """
    slow = dict(_SLOW_FIELDS)
    if _only_waiting_differs(patch.get("conditions"), old):
        slow["conditions"] = Urgency.COUNTS
    if any(name not in slow for name in patch):
        return Urgency.NOW
    if "roles" in patch and effects and not _only_ready_differs(patch["roles"], old):
        return Urgency.NOW
    if "roles" in patch or "conditions" in patch:
        return Urgency.COUNTS
    if "totalSteps" in (patch.get("progress") or {}) and "totalSteps" not in (old.get("progress") or {}):
        return Urgency.COUNTS  # from now on there is a percentage, and a time when it will be done
    return max((slow[name] for name in patch), default=Urgency.PROGRESS)


def _only_waiting_differs(conditions: Any, old: dict[str, Any]) -> bool:
    """Whether only the message of the condition Running differs, which counts the pods that wait."""

    def strip(items: Any) -> list[dict[str, Any]]:
        return [item | {"message": ""} if item.get("type") == RUNNING else item for item in items or ()]

    return strip(conditions) == strip(old.get("conditions"))


def _only_ready_differs(roles: Any, old: dict[str, Any]) -> bool:
    def strip(items: Any) -> list[dict[str, Any]]:
        return [{k: v for k, v in role.items() if k != "ready"} for role in items or ()]

    return strip(roles) == strip(old.get("roles"))
