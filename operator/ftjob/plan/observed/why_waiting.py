"""What is said of pods that run, or do not yet: in Kubernetes' own words, condensed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import ConditionType
from ftjob_protocol.reasons import Reason
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import GroupState, Observed

MESSAGE_MAX = 300
MEETING_NOTICE_SECONDS = 30.0
"""So soon after all pods run nobody has to be told that their agents have still to meet."""


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


def is_waiting(observed: Observed, status: JobStatus) -> bool:
    """Whether the agents of the present attempt still wait for each other, as far as is known."""
    told = observed.leader
    return told is not None and (told.state, told.attempt) == (State.WAITING, status.attempt)


def who_is_absent(pods: tuple[PodState, ...], observed: Observed) -> tuple[str, PodState | None]:
    """Return in words which agents the leader has not heard of, and the pod of the first."""
    absent = observed.leader.absent if observed.leader is not None else ()
    by_name = {f"{pod.role}-{pod.index}": pod for pod in pods if pod.running}
    found = [by_name[name] for name in absent if name in by_name]
    if not found:
        return "their agents did not start the ranks", None
    hosts = ", ".join(f"pod {pod.name} on {pod.node}" for pod in found)
    leader = next(iter(pods))
    return f"{hosts} did not reach pod {leader.name} on {leader.node}", found[0]


def who_runs(
    job: Job, pods: tuple[PodState, ...], observed: Observed, *, waited: float | None
) -> tuple[str, str]:
    """Return who runs, who of them is still waited for, and what a watchdog has to say about it.

    Parameters
    ----------
    pods
        In rank order.
    waited
        For how many seconds all have run.
    """
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
    if is_waiting(observed, job.status) and waited is not None and waited >= MEETING_NOTICE_SECONDS:
        return Reason.PEERS_ABSENT, f"{text}, but {who_is_absent(pods, observed)[0]} yet"[:MESSAGE_MAX]
    if told.attempt == job.status.attempt and told.watchdog:
        return Reason.NO_STEPS_SEEN, f"{text}; {told.watchdog}"[:MESSAGE_MAX]
    return reason, text


def _split(words: str | None) -> tuple[str, str]:
    reason, _, text = (words or "").partition(": ")
    return reason, text
