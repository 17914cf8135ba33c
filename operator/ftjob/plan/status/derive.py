"""The status that follows from a decision. Pure, and the same input gives the same bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import roles_of
from ftjob.models.index_ranges import format_indexes
from ftjob.models.layout import rank_order
from ftjob.models.names import LABEL_JOB, LABEL_ROLE, WORKER
from ftjob.models.status import ConditionType, Display, JobStatus, Phase, Restarts, RoleStatus
from ftjob.models.times import rfc3339, unix
from ftjob.plan.decision import Step
from ftjob.plan.life.elastic import counted, enough_run, present_pods
from ftjob.plan.life.in_place import failed_ranks
from ftjob.plan.life.record import active_seconds, has_begun, is_waited_for, progressed, succeeded_places
from ftjob.plan.life.restart import NODES_REMEMBERED
from ftjob.plan.observed.why_waiting import why_not_running
from ftjob.plan.status.captures import profile_status
from ftjob.plan.status.conditions import ADMITTED, _conditions, _life, _resumed
from ftjob.plan.status.display import display, restarts_shown
from ftjob.plan.status.progress import newest_progress
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.api.job import Job
    from ftjob.models.status import Failure
    from ftjob.plan.decision import Plan
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import Observed

_WAITING = {Step.QUEUE: Phase.QUEUED}


def derive_status(job: Job, observed: Observed, decision: Plan, *, now: float) -> JobStatus:
    """Return the status of a job after a decision.

    Parameters
    ----------
    job
        The job with its last status.
    observed
        What is known of its objects.
    decision
        What `plan` has decided from the same input.
    now
        Unix time in seconds.
    """
    if decision.step is Step.REST:
        return job.status
    never = decision.step is Step.QUEUE and job.status.start_time is None
    if never or decision.step in {Step.WAIT, Step.REFUSE}:
        return _not_started(job, decision, rfc3339(now))
    status = job.status
    pods = tuple(pod for pod in observed.pods if pod.attempt == status.pod_attempt)
    pods = _in_rank_order(present_pods(counted(job, decision.replacements), pods))
    if decision.step in {Step.SUSPEND, Step.QUEUE}:
        changes = _suspended(job, decision, pods, now)
    elif decision.step in {Step.RESTART, Step.HOLD, Step.RECREATE}:
        changes = _between_attempts(job, decision, pods, now)
    else:
        changes = _in_attempt(job, observed, decision, pods, now)
    progress = newest_progress(status, observed, pods)
    after = status.model_copy(update=changes)
    final = after.phase is not None and after.phase.is_final
    return after.model_copy(
        update={
            "observed_generation": job.generation,
            "selector": _selector(job),
            "gang": decision.gang,
            "progress": progress,
            "profile": profile_status(job, observed, pods, final=final),
            "display": display(after.roles, progress, after, final=final),
        }
    )


def _in_attempt(
    job: Job, observed: Observed, decision: Plan, pods: tuple[PodState, ...], now: float
) -> dict[str, Any]:
    """Return what changes while an attempt starts, runs, or ends with the job."""
    status, stamp = job.status, rfc3339(now)
    roles = _roles(job, pods)
    assert job.spec is not None
    spec = job.spec
    runs = enough_run(spec, roles, pods)
    phase = _phase(status, decision, runs=runs)
    waits = why_not_running(pods, observed.groups)
    changes: dict[str, Any] = {
        "phase": phase,
        "conditions": _conditions(job, stamp, *_life(job, observed, decision, phase, waits)),
        "roles": roles,
        "start_time": status.start_time or stamp,
        "next_restart_time": None,
        "workers": sum(pod.role == WORKER and not pod.is_over for pod in pods),
        **_replaced(status, decision),
    }
    if decision.step is Step.START:
        changes |= {"attempt_time": stamp, "active_since": status.active_since or stamp}
    if phase.is_final:
        changes |= {
            "completion_time": stamp,
            "active_since": None,
            "active_seconds": int(active_seconds(status, now)),
            "failure": decision.failure,
        }
    elif runs and status.running_time is None:
        changes |= {"running_time": stamp}
    if (runs or phase.is_final) and status.running_time is None:
        # A short attempt may be over before anybody has seen all of its workers run.
        changes |= {"restarts": _with_lost_time(status, now)}
    return changes


def _between_attempts(job: Job, decision: Plan, pods: tuple[PodState, ...], now: float) -> dict[str, Any]:
    """Return what changes when an attempt has failed, and while the next one waits."""
    status, stamp = job.status, rfc3339(now)
    verdict = decision.verdict
    why = (decision.reason, decision.message)
    stays = decision.in_place or (decision.step is Step.HOLD and is_waited_for(status))
    changes: dict[str, Any] = {
        "phase": Phase.RESTARTING,
        "conditions": _conditions(
            job,
            stamp,
            ADMITTED,
            (ConditionType.RUNNING, "False", *why),
            (ConditionType.RESTARTING, "True", *why),
            *_resumed(status),
        ),
        "roles": _roles(job, pods) if stays else _fresh_roles(job),
        "attempt_time": None,
        "running_time": None,
        "workers": sum(pod.role == WORKER and not pod.is_over for pod in pods) if stays else 0,
        "replaced": None,
    }
    if decision.step is Step.RECREATE:
        # Another number: agents that were told of the last one, or will be, must not be taken for these.
        changes |= {"attempt": status.attempt + 1, "pod_attempt": status.attempt + 1}
    if verdict is None:
        return changes
    assert decision.failure is not None
    old = status.restarts
    spent = {"disruptions": old.disruptions + 1} if verdict.disruption else {"failures": old.failures + 1}
    before = 0 if progressed(status, now) else old.in_a_row or 0
    step = status.progress.step if status.progress is not None else None
    restarts = old.model_copy(
        update={
            **spent,
            "in_a_row": before + 1 if verdict.disruption else None,
            "step": step,
            "failed_nodes": _failed_nodes(old, [] if verdict.disruption else [decision.failure]),
            "failed_ranks": old.failed_ranks
            if verdict.disruption
            else failed_ranks(status, decision.failure, now),
            "succeeded": _succeeded(status, pods),
        }
    )
    wait = verdict.wait_seconds
    return changes | {
        "attempt": status.attempt + 1,
        "pod_attempt": status.pod_attempt if decision.in_place else status.attempt + 1,
        "restarts": restarts,
        "next_restart_time": rfc3339(math.ceil(now + wait)) if wait > 0 else None,
        "failure": decision.failure,
    }


def _suspended(job: Job, decision: Plan, pods: tuple[PodState, ...], now: float) -> dict[str, Any]:
    """Return what changes when a job is suspended or evicted; an attempt that has pods ends with it."""
    status, queued = job.status, decision.step is Step.QUEUE
    ended = 1 if (has_begun(status) or is_waited_for(status)) and pods else 0
    restarts = status.restarts.model_copy(update={"succeeded": _succeeded(status, pods)} if ended else {})
    why = (decision.reason, decision.message)
    life: list[tuple[ConditionType, str, str, str]] = [
        (ConditionType.SUSPENDED, "True", Reason.SUSPENDED, "spec.suspend is true")
    ]
    if queued:
        life = [
            (ConditionType.ADMITTED, "False", *why),
            (ConditionType.RUNNING, "False", *why),
            *_resumed(status),
        ]
    elif status.start_time is not None:
        life[:0] = [ADMITTED, (ConditionType.RUNNING, "False", Reason.SUSPENDED, "spec.suspend is true")]
    return {
        "phase": Phase.QUEUED if queued else Phase.SUSPENDED,
        "conditions": _conditions(job, rfc3339(now), *life),
        "roles": _fresh_roles(job),
        "attempt": status.attempt + ended,
        "pod_attempt": status.attempt + ended,
        "restarts": restarts,
        "attempt_time": None,
        "running_time": None,
        "workers": 0,
        "replaced": None,
        "next_restart_time": None,
        "active_since": None,
        "active_seconds": int(active_seconds(status, now)) or None,
    }


def _succeeded(status: JobStatus, pods: tuple[PodState, ...]) -> dict[str, int] | None:
    """Return what has to be known of an attempt that ends, by others than its pods: those may be deleted."""
    count = len(succeeded_places(status, pods))
    return {str(status.pod_attempt): count} if count else None


def _replaced(status: JobStatus, decision: Plan) -> dict[str, Any]:
    """Return what changes when workers of an elastic job are replaced."""
    changes = decision.replacements
    if changes is None:
        return {}
    found: dict[str, Any] = {"replaced": dict(changes.counts) or None}
    if changes.failures:
        old = status.restarts
        spent = {
            "failures": old.failures + len(changes.failures),
            "failed_nodes": _failed_nodes(old, changes.failures),
        }
        found |= {"restarts": old.model_copy(update=spent), "failure": changes.failures[0]}
    return found


def _failed_nodes(restarts: Restarts, failures: Iterable[Failure]) -> list[str] | None:
    """Return the nodes to remember, with those of new failures."""
    nodes = [*(restarts.failed_nodes or []), *(failure.node for failure in failures if failure.node)]
    return nodes[-NODES_REMEMBERED:] or None


def _selector(job: Job) -> str:
    """Return what finds the pods that ``spec.workers`` counts."""
    return f"{LABEL_JOB}={job.name},{LABEL_ROLE}={WORKER}"


def _with_lost_time(status: JobStatus, now: float) -> Restarts:
    """Count the time from the failure until now, when all workers run again or the job is over."""
    since = next(
        (c.last_transition_time for c in status.conditions if c.type is ConditionType.RESTARTING), None
    )
    if since is None or not status.restarts.failures + status.restarts.disruptions:
        return status.restarts  # a job that was resumed waits for its old pods too, but has lost nothing
    lost = (status.restarts.lost_seconds or 0) + max(0, int(now - unix(since)))
    return status.restarts.model_copy(update={"lost_seconds": lost})


def _not_started(job: Job, decision: Plan, stamp: str) -> JobStatus:
    """Return the status of a job of which nothing runs: it may still be edited, so it has no start time."""
    refused = decision.step is Step.REFUSE
    found = [(ConditionType.ADMITTED, "False", decision.reason, decision.message)]
    if refused:
        found += [
            (kind, "True", decision.reason, decision.message)
            for kind in (ConditionType.FAILED, ConditionType.FINISHED)
        ]
    roles = _fresh_roles(job)
    workers = f"0/{sum(role.desired for role in roles)}" if roles else ""
    return JobStatus(
        observed_generation=job.generation,
        phase=Phase.FAILED if refused else _WAITING.get(decision.step, Phase.PENDING),
        conditions=_conditions(job, stamp, *found),
        attempt=job.status.attempt,
        pod_attempt=job.status.pod_attempt,
        restarts=job.status.restarts,
        selector=_selector(job),
        roles=roles,
        display=Display(workers=workers, restarts=restarts_shown(job.status)),
    )


def _phase(status: JobStatus, decision: Plan, *, runs: bool) -> Phase:
    if decision.step is Step.SUCCEED:
        return Phase.SUCCEEDED
    if decision.step is Step.FAIL:
        return Phase.FAILED
    # An attempt that starts has no pods yet, but for one in place.
    if decision.step in {Step.START, Step.CONTINUE} and (runs or status.running_time is not None):
        return Phase.RUNNING
    return Phase.STARTING


def _fresh_roles(job: Job) -> list[RoleStatus]:
    desired = roles_of(job.spec) if job.spec is not None else {}
    return [RoleStatus(name=role, desired=count) for role, count in desired.items()]


def _in_rank_order(pods: Iterable[PodState]) -> tuple[PodState, ...]:
    return tuple(sorted(pods, key=lambda pod: rank_order(pod.place)))


def _roles(job: Job, pods: tuple[PodState, ...]) -> list[RoleStatus]:
    assert job.spec is not None
    done = succeeded_places(job.status, pods)
    return [
        _role(
            name, desired, [pod for pod in pods if pod.role == name], {i for role, i in done if role == name}
        )
        for name, desired in roles_of(job.spec).items()
    ]


def _role(name: str, desired: int, pods: list[PodState], done: set[int]) -> RoleStatus:
    return RoleStatus(
        name=name,
        desired=desired,
        ready=sum(pod.running and not pod.is_over for pod in pods),
        succeeded=len(done),
        failed=sum(
            pod.is_over and not pod.succeeded and not pod.was_released and pod.index not in done
            for pod in pods
        ),
        succeeded_indexes=format_indexes(done),
    )
