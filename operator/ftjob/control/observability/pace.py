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

SOON_SECONDS = 1.0

SLOW_WRITES_PER_SECOND = 20.0

RUNNING = ConditionType.RUNNING.value


class Urgency(IntEnum):
    """How soon a difference has to be written."""

    NOW = 0
    SOON = 1
    """What agents and others say of a job whose life goes on: at once, but not with each word of theirs."""
    COUNTS = 2
    """How many pods are ready or wait, how many steps there will be: soon, but not once for each pod."""
    PROGRESS = 3
    """Numbers that are out of date as soon as they are written."""


_GAPS = {
    Urgency.SOON: SOON_SECONDS,
    Urgency.COUNTS: COUNTS_SECONDS,
    Urgency.PROGRESS: PROGRESS_SECONDS,
}

_SLOW_FIELDS = {
    "profile": Urgency.SOON,
    "progress": Urgency.PROGRESS,
    "activeSeconds": Urgency.PROGRESS,
    "display": Urgency.PROGRESS,
    "roles": Urgency.COUNTS,
    "workers": Urgency.COUNTS,
}


class Pace:
    """Keeps status writes slow that no effect waits for: progress every 30 s per job, and 20 a second in all.

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
        left = self._last.get(uid, float("-inf")) + _GAPS[urgency] - now
        if left > 0:
            return left
        if urgency is Urgency.SOON:
            return 0.0
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
    found = dict(_SLOW_FIELDS)
    if "conditions" in patch:
        found["conditions"] = _urgency_of_conditions(patch["conditions"], old.get("conditions"))
    if "roles" in patch and effects and not _only_ready_differs(patch["roles"], old):
        return Urgency.NOW
    if "totalSteps" in (patch.get("progress") or {}) and "totalSteps" not in (old.get("progress") or {}):
        # From now on there is a percentage, and a time when it will be done.
        found["progress"] = Urgency.COUNTS
    return min((found.get(name, Urgency.NOW) for name in patch), default=Urgency.PROGRESS)


def _urgency_of_conditions(new: Any, old: Any) -> Urgency:
    """Return how soon new conditions are written: those that only say something else of Running can wait."""

    def without(*fields: str) -> tuple[list[dict[str, Any]], ...]:
        return tuple(
            [
                item | dict.fromkeys(fields, "") if item.get("type") == RUNNING else item
                for item in conditions or ()
            ]
            for conditions in (new, old)
        )

    same_but_message, same_but_words = (
        before == after for before, after in (without("message"), without("message", "reason"))
    )
    if same_but_message:  # which counts the pods that wait
        return Urgency.COUNTS
    return Urgency.SOON if same_but_words else Urgency.NOW


def _only_ready_differs(roles: Any, old: dict[str, Any]) -> bool:
    def strip(items: Any) -> list[dict[str, Any]]:
        return [{k: v for k, v in role.items() if k != "ready"} for role in items or ()]

    return strip(roles) == strip(old.get("roles"))
