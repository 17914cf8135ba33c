"""What is said of pods that run, or do not yet: in Kubernetes' own words, condensed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import ConditionType
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import GroupState, Observed

MESSAGE_MAX = 300


def why_not_running(pods: tuple[PodState, ...], groups: tuple[GroupState, ...] = ()) -> tuple[str, str]:
    """Condense what keeps the pods from running into one reason and one sentence.

    Parameters
    ----------
    groups
        The PodGroups of these pods: what keeps all of them is said before what keeps one.
    """
    found = [
        (f"gang {group.name}", *_split(group.waiting))
        for group in groups
        if group.waiting and not group.deleting
    ]
    waiting = [pod for pod in pods if pod.waiting]
    if waiting:
        first = waiting[0]
        more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        found.append((f"pod {first.name}{more}", *_split(first.waiting)))
    if not found:
        return Reason.STARTING, "the workers are starting"
    said: list[str] = []
    for who, reason, text in found:
        if not any(text in earlier for earlier in said):
            said.append(f"{who}: {text or reason}")
    return found[0][1] or Reason.WAITING, "; ".join(said)[:MESSAGE_MAX]


def who_runs(job: Job, observed: Observed) -> tuple[str, str]:
    """Return who runs, and what a watchdog has to say about it."""
    reason, text = Reason.ALL_WORKERS_RUNNING, "all workers run"
    if job.spec.elastic is not None:
        least, most = job.spec.elastic.min_workers, job.spec.elastic.max_workers
        reason = Reason.ENOUGH_WORKERS_RUNNING
        text = f"workers run, from {least} to {most} as they come and go"
    told = observed.leader
    if told is None:  # a restarted operator has not been told yet
        old = job.status.condition(ConditionType.RUNNING)
        return (
            (old.reason, old.message)
            if old is not None and old.reason == Reason.NO_STEPS_SEEN
            else (reason, text)
        )
    if told.attempt == job.status.attempt and told.watchdog:
        return Reason.NO_STEPS_SEEN, f"{text}; {told.watchdog}"[:MESSAGE_MAX]
    return reason, text


def _split(words: str | None) -> tuple[str, str]:
    reason, _, text = (words or "").partition(": ")
    return reason, text
