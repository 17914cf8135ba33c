"""How far a training is, from what its ranks say: no number that the API can't hold gets through."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from ftjob.models.status import Progress
from ftjob.models.times import rfc3339
from ftjob_protocol.failures import INTEGER_LIMIT

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.pod import PodState

METRICS_MAX = 32


def newest_progress(attempt: Attempt) -> Progress | None:
    """Return the newest progress: the last word of the leader's agent, else what it says now."""
    status, leader = attempt.status, attempt.observed.leader
    live = leader.progress if leader is not None and leader.attempt == status.attempt else None
    told = _last_word(attempt.ranked_pods) or {}
    merged = {**(live or {}), **{key: value for key, value in told.items() if value is not None}}
    if not merged:
        return status.progress
    step, total = _count(merged.get("step")), _count(merged.get("totalSteps"))
    pace = _finite(merged.get("stepSeconds"))
    if pace is not None and pace <= 0:
        pace = None
    left = max(0, total - step) if total and step is not None else None
    wait = _finite(left * pace) if left is not None and pace else None
    eta = 0 if left == 0 else (_count(math.ceil(wait)) if wait is not None else None)
    metrics = merged.get("metrics")
    numbers = {
        str(name): number
        for name, value in (metrics.items() if isinstance(metrics, dict) else ())
        if (number := _finite(value)) is not None
    }
    time_ns = _count(merged.get("timeNs"))
    return Progress(
        step=step,
        total_steps=total or None,
        percent=round(min(100.0, 100.0 * step / total), 1) if total and step is not None else None,
        eta_seconds=eta,
        step_seconds=round(pace, 6) if pace else None,
        epoch=_finite(merged.get("epoch")),
        metrics=dict(sorted(numbers.items())[:METRICS_MAX]),
        updated_time=rfc3339(time_ns / 1e9) if time_ns else None,
    )


def _last_word(pods: tuple[PodState, ...]) -> dict[str, Any] | None:
    """Return the progress in the first pod's termination message, if its ranks say no more."""
    for pod in pods:
        if not pod.is_over:
            return None
        if pod.terminated is not None and pod.terminated.message is not None:
            return pod.terminated.message.progress
    return None


def _count(value: object) -> int | None:
    number = _finite(value)
    return int(number) if number is not None and 0 <= number < INTEGER_LIMIT else None


def _finite(value: object) -> float | None:
    """Return a number, or None for what the API can't hold: one NaN makes every status patch a 400."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None  # false for NaN too
