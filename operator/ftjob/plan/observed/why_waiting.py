"""What is said of pods that run, or do not yet: in Kubernetes' own words, condensed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.deaths.explain import explain_waiting
from ftjob.models.status import ConditionType, Phase
from ftjob_protocol.reasons import Reason
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import GroupState, Observed
    from ftjob_protocol.leader_state import LeaderState

MESSAGE_MAX = 300
MEETING_NOTICE_SECONDS = 10.0
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
    hint = explain_waiting("\n".join(f"{reason}: {text}" for _, reason, text in found))
    words = "; ".join(said)[:MESSAGE_MAX]
    return found[0][1] or Reason.WAITING, f"{words}; {hint}" if hint is not None else words


def is_waiting(observed: Observed, status: JobStatus) -> bool:
    """Whether the agents of the present attempt still wait for each other, as far as is known."""
    told = observed.leader
    return told is not None and (told.state, told.attempt) == (State.WAITING, status.attempt)


def have_started(pods: tuple[PodState, ...], observed: Observed, status: JobStatus) -> bool:
    """Whether the ranks of the present attempt are known to have been started."""
    told = observed.leader
    if told is not None and told.attempt == status.attempt:
        return told.state != State.WAITING
    # A restarted operator has not been told yet; and who has succeeded need not be asked any more.
    return status.phase is Phase.RUNNING or any(pod.succeeded for pod in pods)


def first_absent(pods: tuple[PodState, ...], told: LeaderState, status: JobStatus) -> PodState | None:
    """Return the first running pod whose agent the leader waits for."""
    if told.state != State.WAITING:
        return None
    present = (pod for pod in pods if pod.attempt == status.pod_attempt and pod.running and not pod.is_over)
    by_name = {f"{pod.role}-{pod.index}": pod for pod in present}
    return next((by_name[name] for name in told.absent if name in by_name), None)


def who_is_absent(pods: tuple[PodState, ...], observed: Observed) -> tuple[str, PodState | None]:
    """Return in words which agents the leader has not heard of, and the pod of the first."""
    absent = observed.leader.absent if observed.leader is not None else ()
    by_name = {f"{pod.role}-{pod.index}": pod for pod in pods if pod.running}
    found = [by_name[name] for name in absent if name in by_name]
    if not found:
        return "their agents did not start the ranks", None
    if observed.leader is not None and observed.leader.waits:
        more = f"; {len(found) - 1} more did not reach it" if len(found) > 1 else ""
        first = found[0]
        return f"{first.role} {first.index} on {first.node} {observed.leader.waits}{more}", first
    hosts = ", ".join(f"pod {pod.name} on {pod.node}" for pod in found)
    leader = next(iter(pods))
    return f"{hosts} did not reach pod {leader.name} on {leader.node}", found[0]


def who_waits(
    pods: tuple[PodState, ...], observed: Observed, status: JobStatus, *, waited: float
) -> tuple[str, str]:
    """Return why no rank runs yet, though all pods do.

    Parameters
    ----------
    pods
        In rank order.
    waited
        For how many seconds all have run.
    """
    text = "all workers run, and their agents have yet to start the ranks"
    if waited < MEETING_NOTICE_SECONDS:
        return Reason.STARTING, text
    if is_waiting(observed, status):
        return Reason.PEERS_ABSENT, f"no rank runs yet: {who_is_absent(pods, observed)[0]}"[:MESSAGE_MAX]
    if observed.unreached and pods:
        where = f"pod {pods[0].name} on {pods[0].node}"
        said = f"the operator can't ask {where} whether the ranks run: {observed.unreached}"
        return Reason.LEADER_UNREACHED, said[:MESSAGE_MAX]
    return Reason.STARTING, text


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
