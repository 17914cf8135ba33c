"""A job's life on one page: the questions that decide its next step, in the order in which they are asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.job import UnreadableJob
from ftjob.api.problem import summary
from ftjob.api.validate import validate
from ftjob.plan import on_demand
from ftjob.plan.collector.reports import with_collectors
from ftjob.plan.gangs.arrange import arrange, gang_problem
from ftjob.plan.kueue.queue import queue_problem, wait_in_queue, with_workload
from ftjob.plan.life.attempt import Attempt, active_seconds
from ftjob.plan.life.deletion import to_replace
from ftjob.plan.life.elastic import replace_workers, replacements
from ftjob.plan.life.ending import (
    after_failures,
    after_vanishing,
    after_waiting,
    give_up,
    looks_while_waiting,
)
from ftjob.plan.life.finished import has_succeeded, is_at_rest, rest, succeed
from ftjob.plan.life.in_place import after_halt
from ftjob.plan.life.refusal import after_refusal
from ftjob.plan.life.starting import complete, start_timeout, wait_for_predecessors, wait_to_begin
from ftjob.plan.plan import Changes, Plan, Step, soonest
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.api.problem import Problem
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Config


def decide(job: AnyJob, observed: Observed, *, now: float, config: Config) -> Plan:
    """Decide the next step in a job's life, and what should exist in the cluster for it.

    Parameters
    ----------
    job
        The job with its last status.
    observed
        What is known of its objects.
    now
        Unix time in seconds.
    config
        The operator's settings.
    """
    plan = _next_step(job, observed, now=now, config=config)
    plan = arrange(plan, job, observed)  # its gang
    plan = with_workload(plan, job, observed, now=now, config=config)  # its place in Kueue
    return with_collectors(plan, job, observed, now=now, config=config)  # its reports


def _next_step(job: AnyJob, observed: Observed, *, now: float, config: Config) -> Plan:
    """Ask what concerns the whole job: whether it is over, whether it can run, and whether it may."""
    if is_at_rest(job):
        return rest(job, observed, now=now)
    problems = _problems(job, observed)
    if problems or isinstance(job, UnreadableJob):
        return Plan(
            Step.REFUSE,
            reason=Reason.INVALID_SPEC,
            message=summary(problems),
            is_for_want_of_a_kind=not validate(job),
        )
    if job.spec.suspend:
        return Plan(Step.SUSPEND, changes=Changes(delete=to_replace(observed.pods)))
    attempt = Attempt(job, observed, now)
    if (waiting := wait_for_predecessors(attempt)) is not None:
        return waiting
    if (late := _deadline_passed(attempt)) is not None:
        return _with_limits(late, attempt)
    plan = (
        after_refusal(attempt)
        or wait_in_queue(job, observed, config=config)
        or wait_to_begin(attempt, config)
        or _go_on(attempt, config)
    )
    return _with_limits(_with_capture(plan, attempt), attempt)


def _go_on(attempt: Attempt, config: Config) -> Plan:
    """Ask what concerns an attempt that may run: whether it has ended, and whether it is complete."""
    if has_succeeded(attempt):
        return succeed(attempt)
    changes = replacements(attempt)  # an elastic job may do without the workers that it has lost
    if attempt.failed and changes is None:
        return after_failures(attempt)
    if (vanished := after_vanishing(attempt)) is not None:
        return vanished
    if (ended := after_halt(attempt) or after_waiting(attempt)) is not None:
        return ended
    if changes is not None:
        plan = replace_workers(attempt, changes, config)
    else:
        plan = start_timeout(attempt) or complete(attempt, config)
    return replace(plan, next_look=soonest(plan.next_look, *looks_while_waiting(attempt)))


def _problems(job: AnyJob, observed: Observed) -> tuple[Problem, ...]:
    """Return what keeps a job from running, in any cluster or in this one. Once started, it was good."""
    if isinstance(job, UnreadableJob):
        return validate(job)
    if job.status.start_time is not None:
        return ()
    here = (gang_problem(job.spec, observed.served), queue_problem(job, observed.served))
    return validate(job) or tuple(problem for problem in here if problem is not None)


def _deadline_passed(attempt: Attempt) -> Plan | None:
    deadline = attempt.spec.active_deadline_seconds
    if deadline is None or active_seconds(attempt.status, attempt.now) < deadline:
        return None
    return give_up(
        attempt, Reason.DEADLINE_EXCEEDED, f"the job was active for activeDeadlineSeconds ({deadline} s)"
    )


def _with_capture(plan: Plan, attempt: Attempt) -> Plan:
    """Have the leader told of a capture that is asked for, unless it has to be told something else."""
    if plan.step is not Step.CONTINUE or plan.order is not None:
        return plan
    order = on_demand.order(attempt)
    look = on_demand.TELL_AGAIN_SECONDS if order is not None else None
    return replace(plan, order=order, next_look=soonest(plan.next_look, look))


def _with_limits(plan: Plan, attempt: Attempt) -> Plan:
    """Look again when the deadline is reached, and when a job that ends now has lived long enough."""
    if plan.step in {Step.SUCCEED, Step.FAIL}:
        ttl = attempt.spec.ttl_seconds_after_finished
        return plan if ttl is None else replace(plan, next_look=float(ttl))
    deadline = attempt.spec.active_deadline_seconds
    if deadline is None or plan.step is Step.REFUSE:
        return plan
    left = deadline - active_seconds(attempt.status, attempt.now)
    return replace(plan, next_look=soonest(left, plan.next_look))
