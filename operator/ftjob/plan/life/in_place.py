"""Restarts in place: the ranks of a failed attempt get another life in the same pods. Pure.

The agent of index 0 says that all ranks are dead (``Halted``) and waits. Status then counts the restart, as
for any other, but ``podAttempt`` stays; that is how a later look, or another operator, knows that the agents
have still to be told. They are told again and again until they say that they were: the attempt's number makes
sure that nothing starts twice. Whatever goes wrong with that has the pods made anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.defaults import restarts_in_place
from ftjob.models.status import ConditionType, Failure
from ftjob.models.times import rfc3339, unix
from ftjob.plan.life.deletion import refs
from ftjob.plan.life.ending import end_of_attempt
from ftjob.plan.life.first_failure import End, reason_of
from ftjob.plan.plan import Changes, Plan, Step
from ftjob_protocol.orders import Order, OrderKind
from ftjob_protocol.reasons import Reason
from ftjob_protocol.states import State

if TYPE_CHECKING:
    from ftjob.models.status import JobStatus
    from ftjob.plan.life.attempt import Attempt
    from ftjob_protocol import failures


SAME_RANK_SECONDS = 600.0
"""A rank that fails again so soon gets new pods: it may be the pod, or what was left in it."""
RANKS_REMEMBERED = 20
GIVE_UP_SECONDS = 60.0
"""So long after their time the ranks may take to start; agents that are well have given up before."""
TELL_AGAIN_SECONDS = 2.0


def after_halt(attempt: Attempt) -> Plan | None:
    """Decide what follows when all ranks are dead in pods that live; None if that isn't so."""
    told, status = attempt.observed.leader, attempt.status
    if told is None or (told.state, told.attempt) != (State.HALTED, status.attempt) or told.failure is None:
        return None
    leader = attempt.layout.leader.place
    if told.ordered > status.attempt or not any(p.place == leader and p.running for p in attempt.every_pod):
        return None
    failure = _failure(attempt, told.failure)
    plan = end_of_attempt(attempt, End(failure, disruption=False))
    if (
        plan.step is Step.RESTART
        and restarts_in_place(attempt.spec)
        and _are_well(attempt)
        and not _failed_lately(status, failure, attempt.now)
    ):
        message = f"{plan.message.removesuffix(')')}, in the same pods)"
        record = replace(plan.status, in_place=True)
        return replace(plan, changes=Changes(), status=record, message=message)
    # Then it ends as any other failure: with the words of all agents, and by the same rules.
    return Plan(Step.CONTINUE, order=Order(OrderKind.END, status.attempt), next_look=TELL_AGAIN_SECONDS)


def go_on(attempt: Attempt) -> Plan | None:
    """Decide what a restart in place needs now; None when the new attempt has begun."""
    told, status, now = attempt.observed.leader, attempt.status, attempt.now
    said = [pod.terminated.message for pod in attempt.every_pod if pod.terminated is not None]
    heard = [message.attempt for message in said if message is not None]
    if status.attempt in (*heard, told.attempt if told is not None else None):
        return None
    restarting = status.condition(ConditionType.RESTARTING)
    since = unix(restarting.last_transition_time) if restarting is not None else now
    when = unix(status.next_restart_time) if status.next_restart_time is not None else since
    left = max(since, when) + GIVE_UP_SECONDS - now
    if not _are_well(attempt) or left <= 0:
        why = "the ranks could not be started again in the same pods; new ones are made"
        changes = Changes(delete=refs(attempt.observed.pods))
        return Plan(Step.RECREATE, reason=Reason.NOT_IN_PLACE, message=why, changes=changes, next_look=0.0)
    # What status says already, so that waiting is no write.
    hold = Plan(
        Step.HOLD,
        reason=restarting.reason if restarting is not None else Reason.HALTED,
        message=restarting.message if restarting is not None else "",
        next_look=left,
    )
    if told is not None and told.ordered >= status.attempt:
        return hold
    order = Order(OrderKind.START, status.attempt, max(0.0, when - now))
    return replace(hold, order=order, next_look=min(left, TELL_AGAIN_SECONDS))


def failed_ranks(status: JobStatus, failure: Failure, now: float) -> dict[str, str] | None:
    """Return when each rank last failed, with this failure."""
    known = {
        rank: stamp
        for rank, stamp in (status.restarts.failed_ranks or {}).items()
        if now - unix(stamp) < SAME_RANK_SECONDS and rank != str(failure.rank)
    }
    if failure.rank is not None:
        known[str(failure.rank)] = rfc3339(now)
    newest = sorted(known.items(), key=lambda item: (item[1], item[0]))[-RANKS_REMEMBERED:]
    return dict(newest) or None


def _failed_lately(status: JobStatus, failure: Failure, now: float) -> bool:
    stamp = (status.restarts.failed_ranks or {}).get(str(failure.rank))
    return stamp is not None and now - unix(stamp) < SAME_RANK_SECONDS


def _are_well(attempt: Attempt) -> bool:
    """Whether every worker has a pod whose agent can be told to go on."""
    well = {
        pod.place
        for pod in attempt.every_pod
        if pod.running and not pod.is_over and not pod.deleting and pod.disruption is None
    }
    return all(worker.place in well for worker in attempt.layout.workers)


def _failure(attempt: Attempt, told: failures.Failure) -> Failure:
    """Return the first failing rank, as the leader names it, with its pod and node."""
    workers = attempt.layout.workers
    place = next((worker.place for worker in workers if told.rank in worker.ranks), None)
    pod = next((pod for pod in attempt.every_pod if pod.place == place), None)
    return Failure(
        rank=told.rank,
        role=place[0] if place is not None else None,
        index=place[1] if place is not None else None,
        pod=pod.name if pod is not None else None,
        node=pod.node if pod is not None else None,
        exit_code=told.exit_code,
        reason=reason_of(told),
        message=told.message,
        log_tail=told.log_tail or None,
    )
