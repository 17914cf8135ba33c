"""The status that follows from a plan. Pure, and the same input gives the same bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ftjob.api.job import Job
from ftjob.models.names import LABEL_JOB, LABEL_ROLE, WORKER
from ftjob.models.status import ConditionType, Display, JobStatus, Phase
from ftjob.models.times import rfc3339
from ftjob.plan.collector.reports import rested, with_reports
from ftjob.plan.life.attempt import Attempt, active_seconds, has_begun, is_waited_for
from ftjob.plan.life.elastic import enough_run
from ftjob.plan.life.first_failure import sentence
from ftjob.plan.observed.why_waiting import have_started
from ftjob.plan.plan import Step
from ftjob.plan.status.captures import profile_status
from ftjob.plan.status.conditions import ADMITTED, Said, conditions, of_attempt, resumed
from ftjob.plan.status.display import display, restarts_shown
from ftjob.plan.status.hint import explained
from ftjob.plan.status.progress import newest_progress, told_progress
from ftjob.plan.status.restarts import count_lost_time, count_replacements, count_restart, succeeded
from ftjob.plan.status.roles import fresh_roles, role_statuses
from ftjob.plan.status.timeline import not_started, timeline
from ftjob.plan.status.verdict import with_verdict
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob, JobHead
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Plan

_WAITING = {Step.QUEUE: Phase.QUEUED}


def derive_status(job: AnyJob, observed: Observed, plan: Plan, *, now: float) -> JobStatus:
    """Return the status of a job whose plan is known.

    Parameters
    ----------
    job
        The job with its last status.
    observed
        What is known of its objects.
    plan
        What `decide` has made of the same input.
    now
        Unix time in seconds.
    """
    if plan.step is Step.REST:
        return rested(job, observed, now)
    never = plan.step is Step.QUEUE and job.status.start_time is None
    if never or plan.step in {Step.WAIT, Step.REFUSE} or not isinstance(job, Job):
        return _not_started(job, plan, now)
    attempt = Attempt(job, observed, now).after(plan.status.replacements)
    if plan.step in {Step.SUSPEND, Step.QUEUE}:
        changes = _suspended(attempt, plan)
    elif plan.step in {Step.RESTART, Step.HOLD, Step.RECREATE}:
        changes = _between_attempts(attempt, plan)
    else:
        changes = _in_attempt(attempt, plan)
    said = told_progress(attempt)
    progress = newest_progress(said, job.status.progress)
    after = job.status.model_copy(update=changes)
    final = after.phase is not None and after.phase.is_final
    ended = _why_ended(attempt, plan, after)
    profile = with_verdict(profile_status(attempt, progress, ended=ended, final=final), attempt)
    return after.model_copy(
        update={
            "observed_generation": job.generation,
            "selector": _selector(job),
            "gang": plan.status.gang,
            "progress": progress,
            "timeline": timeline(attempt, after, said),
            "profile": with_reports(profile, job, observed, now),
            "display": display(after.roles, progress, after, final=final),
        }
    )


def _why_ended(attempt: Attempt, plan: Plan, after: JobStatus) -> str | None:
    """Return why the present attempt ends with this step, if that is known; None if it goes on."""
    if plan.step in {Step.SUSPEND, Step.QUEUE}:
        return "the job was suspended" if plan.step is Step.SUSPEND else "the job went back into its queue"
    is_over = after.attempt != attempt.status.attempt or (after.phase is not None and after.phase.is_final)
    if not is_over:
        return None
    return sentence(plan.status.failure) if plan.status.failure is not None else ""


def _in_attempt(attempt: Attempt, plan: Plan) -> dict[str, Any]:
    """Return what changes while an attempt starts, runs, or ends with the job."""
    status, stamp = attempt.status, rfc3339(attempt.now)
    roles = role_statuses(attempt)
    runs = enough_run(attempt.spec, roles, attempt.pods)
    phase = _phase(attempt, plan, runs=runs)
    changes: dict[str, Any] = {
        "phase": phase,
        "conditions": conditions(
            attempt.job, stamp, *of_attempt(attempt, plan, phase, all_run=runs or attempt.has_run)
        ),
        "roles": roles,
        "start_time": status.start_time or stamp,
        "next_restart_time": None,
        "workers": _living_workers(attempt),
    }
    if plan.status.replacements is not None:
        changes |= count_replacements(attempt, plan.status.replacements)
    if plan.step is Step.START:
        changes |= {"attempt_time": stamp, "active_since": status.active_since or stamp}
    if phase.is_final:
        changes |= {
            "completion_time": stamp,
            "active_since": None,
            "active_seconds": int(active_seconds(status, attempt.now)),
            "failure": explained(plan.status.failure),
        }
    elif runs and not attempt.has_run:
        changes |= {"running_time": stamp}
    if (runs or phase.is_final) and not attempt.has_run:
        # A short attempt may be over before anybody has seen all of its workers run.
        changes |= {"restarts": count_lost_time(attempt)}
    return changes


def _between_attempts(attempt: Attempt, plan: Plan) -> dict[str, Any]:
    """Return what changes when an attempt has failed, and while the next one waits."""
    job, status, record = attempt.job, attempt.status, plan.status
    why = (plan.reason, plan.message)
    stays = record.in_place or (plan.step is Step.HOLD and is_waited_for(status))
    said: list[Said] = [
        ADMITTED,
        (ConditionType.RUNNING, "False", *why),
        (ConditionType.RESTARTING, "True", *why),
        *resumed(status),
    ]
    changes: dict[str, Any] = {
        "phase": Phase.RESTARTING,
        "conditions": conditions(job, rfc3339(attempt.now), *said),
        "roles": role_statuses(attempt) if stays else fresh_roles(job),
        "attempt_time": None,
        "running_time": None,
        "workers": _living_workers(attempt) if stays else 0,
        "replaced": None,
    }
    if plan.step is Step.RECREATE:
        # Another number: agents that were told of the last one, or will be, must not be taken for these.
        changes |= {"attempt": status.attempt + 1, "pod_attempt": status.attempt + 1}
    if record.restart is None or record.failure is None:
        return changes
    wait = record.restart.wait_seconds
    return changes | {
        "attempt": status.attempt + 1,
        "pod_attempt": status.pod_attempt if record.in_place else status.attempt + 1,
        "restarts": count_restart(attempt, record.failure, record.restart),
        "next_restart_time": rfc3339(math.ceil(attempt.now + wait)) if wait > 0 else None,
        "failure": explained(record.failure),
    }


def _suspended(attempt: Attempt, plan: Plan) -> dict[str, Any]:
    """Return what changes when a job is suspended or evicted; an attempt that has pods ends with it."""
    job, status, queued = attempt.job, attempt.status, plan.step is Step.QUEUE
    ended = 1 if (has_begun(status) or is_waited_for(status)) and attempt.pods else 0
    restarts = status.restarts
    if ended:
        restarts = restarts.model_copy(update={"succeeded": succeeded(attempt)})
    why = (plan.reason, plan.message)
    said: list[Said] = [(ConditionType.SUSPENDED, "True", Reason.SUSPENDED, "spec.suspend is true")]
    if queued:
        said = [
            (ConditionType.ADMITTED, "False", *why),
            (ConditionType.RUNNING, "False", *why),
            *resumed(status),
        ]
    elif status.start_time is not None:
        said[:0] = [ADMITTED, (ConditionType.RUNNING, "False", Reason.SUSPENDED, "spec.suspend is true")]
    return {
        "phase": Phase.QUEUED if queued else Phase.SUSPENDED,
        "conditions": conditions(job, rfc3339(attempt.now), *said),
        "roles": fresh_roles(job),
        "attempt": status.attempt + ended,
        "pod_attempt": status.attempt + ended,
        "restarts": restarts,
        "attempt_time": None,
        "running_time": None,
        "workers": 0,
        "replaced": None,
        "next_restart_time": None,
        "active_since": None,
        "active_seconds": int(active_seconds(status, attempt.now)) or None,
    }


def _living_workers(attempt: Attempt) -> int:
    return sum(pod.role == WORKER and not pod.is_over for pod in attempt.pods)


def _selector(job: JobHead) -> str:
    """Return what finds the pods that ``spec.workers`` counts."""
    return f"{LABEL_JOB}={job.name},{LABEL_ROLE}={WORKER}"


def _not_started(job: AnyJob, plan: Plan, now: float) -> JobStatus:
    """Return the status of a job of which nothing runs: it may still be edited, so it has no start time."""
    refused = plan.step is Step.REFUSE
    said: list[Said] = [(ConditionType.ADMITTED, "False", plan.reason, plan.message)]
    if refused:
        said += [
            (kind, "True", plan.reason, plan.message)
            for kind in (ConditionType.FAILED, ConditionType.FINISHED)
        ]
    roles = fresh_roles(job)
    workers = f"0/{sum(role.desired for role in roles)}" if roles else ""
    phase = Phase.FAILED if refused else _WAITING.get(plan.step, Phase.PENDING)
    return JobStatus(
        observed_generation=job.generation,
        phase=phase,
        conditions=conditions(job, rfc3339(now), *said),
        attempt=job.status.attempt,
        pod_attempt=job.status.pod_attempt,
        restarts=job.status.restarts,
        timeline=not_started(job, phase, now),
        selector=_selector(job),
        roles=roles,
        display=Display(workers=workers, restarts=restarts_shown(job.status)),
    )


def _phase(attempt: Attempt, plan: Plan, *, runs: bool) -> Phase:
    if plan.step is Step.SUCCEED:
        return Phase.SUCCEEDED
    if plan.step is Step.FAIL:
        return Phase.FAILED
    # An attempt that starts has no pods yet, but for one in place.
    there = plan.step in {Step.START, Step.CONTINUE} and (runs or attempt.has_run)
    if there and have_started(attempt.pods, attempt.observed, attempt.status):
        return Phase.RUNNING
    return Phase.STARTING
