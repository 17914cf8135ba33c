"""How far a training is, from what its ranks say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ftjob.models.status import Progress
from ftjob.models.times import rfc3339
from ftjob_protocol.values.fields import count, finite
from ftjob_protocol.values.progress import read_progress

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.pod import PodState


def told_progress(attempt: Attempt) -> dict[str, Any] | None:
    """Return what is told of this attempt: the last word of the leader's agent, else what it says now."""
    status, leader = attempt.status, attempt.observed.leader
    live = leader.progress if leader is not None and leader.attempt == status.attempt else None
    return read_progress({**(live or {}), **(_last_word(attempt.ranked_pods) or {})})


def newest_progress(said: dict[str, Any] | None, known: Progress | None) -> Progress | None:
    """Return the newest progress: what is told now, if anything is, else what was known."""
    if not said:
        return known
    step, total = said.get("step"), said.get("totalSteps")
    pace = said.get("stepSeconds")
    if pace is not None and pace <= 0:
        pace = None
    left = max(0, total - step) if total and step is not None else None
    wait = finite(left * pace) if left is not None and pace else None
    eta = 0 if left == 0 else (count(math.ceil(wait)) if wait is not None else None)
    time_ns = said.get("timeNs")
    return Progress(
        step=step,
        total_steps=total or None,
        percent=round(min(100.0, 100.0 * step / total), 1) if total and step is not None else None,
        eta_seconds=eta,
        step_seconds=round(pace, 6) if pace else None,
        epoch=said.get("epoch"),
        metrics=dict(sorted(said.get("metrics", {}).items())),
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
