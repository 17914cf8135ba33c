"""What keeps pods from running, in Kubernetes' own words, condensed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.plan.observed import PodState

WAITING_MESSAGE_MAX = 300


def why_not_running(pods: tuple[PodState, ...]) -> tuple[str, str]:
    """Condense what keeps the pods from running into one reason and one sentence."""
    waiting = [pod for pod in pods if pod.waiting]
    if not waiting:
        return "Starting", "the workers are starting"
    first = waiting[0]
    assert first.waiting is not None
    reason, _, text = first.waiting.partition(": ")
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    return reason or "Waiting", f"pod {first.name}{more}: {text or reason}"[:WAITING_MESSAGE_MAX]
