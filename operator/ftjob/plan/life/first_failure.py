"""How an attempt ends: which workers have succeeded, and which rank failed first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.models.layout import rank_order
from ftjob.models.status import Failure
from ftjob_protocol.failures import FailureClass, FailureType
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.plan.observed.pod import PodState, Terminated
    from ftjob_protocol import failures

EVIDENCE_SECONDS = 2.0
"""How long to wait for the other workers' messages once one has failed: the victim of a lost peer often
exits before the rank that failed."""
CULPRIT_SECONDS = 60.0
"""How long to wait for it while all that have ended are such victims: the kubelet of a busy node is late with
its word, and a node that was lost is marked as such after 50 s. Nothing is kept from going on: the ranks are
dead."""


CANNOT_START = (127, 128)
"""Exit codes that container runtimes give to a command that they can't run."""
OWN_WORD = "ftjob: "
"""What the agent's lines begin with, and those of the command that starts it."""


@dataclass(frozen=True)
class End:
    """Why an attempt ended."""

    failure: Failure
    disruption: bool
    """Whether the cluster did it, not the program: an eviction, a preemption, a lost node or network, a
    deleted pod."""
    is_consequence: bool = False
    """Whether something else must have come first: what it was is not known."""


def first_failure(pods: Iterable[PodState]) -> End | None:
    """Return the first failing rank among the pods, or None if none failed.

    Own exceptions, exits and signals come before agents that did not hear each other, those before lost
    peers, and these before ranks that an agent stopped; then the earliest. Times are compared only within a
    class, since nodes' clocks differ.
    """
    failed = [pod for pod in pods if (pod.is_over and not pod.succeeded) or pod.is_lost]
    if not failed:
        return None
    return min((_described(pod) for pod in failed), key=lambda found: found[0])[1]


def vanished(name: str, role: str, index: int) -> End:
    """Return the end of a pod that nobody saw end."""
    message = f"pod {name} is gone and its end was not seen; look for who deletes pods"
    return End(
        Failure(role=role, index=index, pod=name, reason=Reason.POD_VANISHED, message=message),
        disruption=True,
    )


def _described(pod: PodState) -> tuple[tuple[int, int, tuple[int, str, int]], End]:
    """Return what one pod's end says, and how it sorts: the smallest is to blame."""
    end = pod.terminated
    told = end.message.failure if end is not None and end.message is not None else None
    rank: int | None = None
    log_tail = ""
    if end is None:
        blame, time_ns, code = 0, 0, None
        reason, disruption = pod.disruption or Reason.POD_DELETED, True
        text = f"pod {pod.name} was deleted while its ranks ran"
        if pod.is_lost:
            reason, text = Reason.NODE_LOST, f"node {pod.node} of pod {pod.name} does not answer any more"
    elif told is None:
        # No word of the agent: it was killed with its pod, or never started.
        blame, time_ns, code = 0, int(end.seen * 1e9), end.exit_code
        disruption = end.reason != Reason.OOM_KILLED and (pod.disruption is not None or pod.deleting)
        unnamed = Reason.POD_DELETED if disruption else Reason.EXIT
        reason = pod.disruption or (end.reason if end.reason not in {"", "Error"} else unnamed)
        text = f"the trainer of pod {pod.name} ended with exit code {end.exit_code} ({end.reason})"
        log_tail = end.log_tail
        why = _why_not_started(end)
        text = f"{text}: {why}" if why else text
    else:
        blame, time_ns, code = told.blame, told.time_ns, told.exit_code
        if code is None and told.failure_class != FailureClass.HANG:
            code = end.exit_code
        rank = told.rank
        reason = Reason.OOM_KILLED if end.reason == Reason.OOM_KILLED else reason_of(told)
        taken_away = told.failure_class == FailureClass.STOPPED and (
            pod.disruption is not None or pod.deleting
        )
        if taken_away:
            # The pod was taken away: that is the cause, and what its agent stopped is only how it went.
            blame, reason = 0, pod.disruption or Reason.POD_DELETED
        text, log_tail = told.message, told.log_tail
        disruption = taken_away or told.is_without_contact
    if pod.words and (disruption or told is None or told.failure_class == FailureClass.STOPPED):
        text = f"{text}\n{pod.words}"
    failure = Failure(
        rank=rank,
        role=pod.role,
        index=pod.index,
        pod=pod.name,
        node=pod.node,
        exit_code=code,
        reason=reason,
        message=text,
        log_tail=log_tail or None,
    )
    return (blame, time_ns, rank_order(pod.place)), End(failure, disruption, blame > 0)


def _why_not_started(end: Terminated) -> str:
    """Return why the container did not come as far as its agent, if it could say so."""
    last = (end.log_tail.splitlines() or [""])[-1]
    # The runtimes' own words, each in its way: exec: "python3": executable file not found in $PATH
    if end.exit_code in CANNOT_START and "python3" in last and "not found" in last:
        return "the image has no python3 on its PATH, which ftjob needs (3.9 or newer): use one that has it"
    return last.removeprefix(OWN_WORD) if last.startswith(OWN_WORD) else ""


def reason_of(told: failures.Failure) -> str:
    """Return the reason of a rank's failure in one word."""
    named = told.type == FailureType.OOM_KILLED or told.is_without_contact
    return told.type if named else told.failure_class


def sentence(failure: Failure) -> str:
    """Return a failure as one sentence for people: who, where, how, and the last line of why."""
    who = f"rank {failure.rank}" if failure.rank is not None else f"{failure.role} {failure.index}"
    where = f" (pod {failure.pod}{f' on {failure.node}' if failure.node else ''})" if failure.pod else ""
    how = f" with exit code {failure.exit_code}" if failure.exit_code is not None else ""
    lines = failure.message.strip().splitlines()
    return f"{who}{where} failed{how}" + (f": {lines[-1]}" if lines else "")
