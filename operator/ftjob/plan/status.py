"""The status that follows from a decision. Pure, and the same input gives the same bytes."""

from __future__ import annotations

import math
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import roles_of
from ftjob.api.names import ANNOTATION_CAPTURE, LABEL_JOB
from ftjob.api.spec import ProfilingMode
from ftjob.api.status import (
    Capture,
    Condition,
    ConditionType,
    Display,
    JobStatus,
    Phase,
    ProfileStatus,
    Progress,
    RoleStatus,
)
from ftjob.plan.decide import succeeded_places
from ftjob.plan.decision import Step
from ftjob.plan.layout import cluster_layout, rank_order
from ftjob.plan.message import INTEGER_LIMIT
from ftjob.plan.outcome import format_indexes
from ftjob.plan.worker import profiled_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.api.job import Job
    from ftjob.plan.decision import Plan
    from ftjob.plan.observed import Observed, PodState

METRICS_MAX = 32
CAPTURE_ID = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""A capture's id becomes a folder."""
WAITING_MESSAGE_MAX = 300


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
    stamp = _rfc3339(now)
    pods = _in_rank_order(pod for pod in observed.pods if pod.attempt == job.status.pod_attempt)
    if decision.step in {Step.WAIT, Step.REFUSE}:
        return _not_started(job, decision, stamp)
    status = job.status
    spec = job.spec
    assert spec is not None
    roles = _roles(job, pods)
    runs = all(role.ready + role.succeeded >= role.desired for role in roles)
    phase = _phase(status, decision, runs=runs)
    running_time = status.running_time or (stamp if runs and decision.step is Step.CONTINUE else None)
    progress = _progress(status, observed, pods)
    final = phase.is_final
    start_time = status.start_time or stamp
    return status.model_copy(
        update={
            "observed_generation": job.generation,
            "phase": phase,
            "conditions": _conditions(job, stamp, *_life(decision, phase, pods)),
            "roles": roles,
            "selector": f"{LABEL_JOB}={job.name}",
            "start_time": start_time,
            "running_time": running_time,
            "completion_time": stamp if final else None,
            "active_seconds": _seconds_since(start_time, now) if final else None,
            "progress": progress,
            "failure": decision.failure,
            "profile": _profile(job, observed, pods, final=final),
            "display": _display(roles, progress, status, final=final),
        }
    )


def _not_started(job: Job, decision: Plan, stamp: str) -> JobStatus:
    """Return the status of a job of which nothing runs: it may still be edited, so it has no start time."""
    refused = decision.step is Step.REFUSE
    found = [(ConditionType.ADMITTED, "False", decision.reason, decision.message)]
    if refused:
        found += [
            (kind, "True", decision.reason, decision.message)
            for kind in (ConditionType.FAILED, ConditionType.FINISHED)
        ]
    desired = roles_of(job.spec) if job.spec is not None else {}
    return JobStatus(
        observed_generation=job.generation,
        phase=Phase.FAILED if refused else Phase.PENDING,
        conditions=_conditions(job, stamp, *found),
        attempt=job.status.attempt,
        pod_attempt=job.status.pod_attempt,
        restarts=job.status.restarts,
        selector=f"{LABEL_JOB}={job.name}",
        roles=[RoleStatus(name=role, desired=count) for role, count in desired.items()],
        display=Display(
            workers=f"0/{sum(desired.values())}" if desired else "", restarts=_restarts(job.status)
        ),
    )


def _phase(status: JobStatus, decision: Plan, *, runs: bool) -> Phase:
    if decision.step is Step.SUCCEED:
        return Phase.SUCCEEDED
    if decision.step is Step.FAIL:
        return Phase.FAILED
    if decision.step is Step.CONTINUE and (runs or status.running_time is not None):
        return Phase.RUNNING
    return Phase.STARTING


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


def _conditions(job: Job, stamp: str, *found: tuple[ConditionType, str, str, str]) -> list[Condition]:
    """Return conditions from (type, status, reason, message).

    The transition time of a condition stands still while its status does.
    """
    old = {condition.type: condition for condition in job.status.conditions}
    return [
        Condition(
            type=kind,
            status=value,
            reason=reason,
            message=message,
            last_transition_time=(
                old[kind].last_transition_time if kind in old and old[kind].status == value else stamp
            ),
            observed_generation=job.generation,
        )
        for kind, value, reason, message in found
    ]


def _life(
    decision: Plan, phase: Phase, pods: tuple[PodState, ...]
) -> list[tuple[ConditionType, str, str, str]]:
    """Return what the conditions of a started job say."""
    admitted = (ConditionType.ADMITTED, "True", "Admitted", "the job may run")
    ended = (ConditionType.RUNNING, "False", "Finished", "the job has ended")
    if phase is Phase.SUCCEEDED:
        return [
            admitted,
            ended,
            (ConditionType.SUCCEEDED, "True", "Succeeded", "all workers that count have succeeded"),
            (ConditionType.FINISHED, "True", "Succeeded", "the job has succeeded"),
        ]
    if phase is Phase.FAILED:
        return [
            admitted,
            ended,
            (ConditionType.FAILED, "True", decision.reason, decision.message),
            (ConditionType.FINISHED, "True", "Failed", decision.message),
        ]
    if phase is Phase.RUNNING:
        return [admitted, (ConditionType.RUNNING, "True", "AllWorkersRunning", "all workers run")]
    return [admitted, (ConditionType.RUNNING, "False", *_why_not_running(pods))]


def _why_not_running(pods: tuple[PodState, ...]) -> tuple[str, str]:
    """Condense what keeps the pods from running into one reason and one sentence."""
    waiting = [pod for pod in pods if pod.waiting]
    if not waiting:
        return "Starting", "the workers are starting"
    first = waiting[0]
    assert first.waiting is not None
    reason, _, text = first.waiting.partition(": ")
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    return reason or "Waiting", f"pod {first.name}{more}: {text or reason}"[:WAITING_MESSAGE_MAX]


def _progress(status: JobStatus, observed: Observed, pods: tuple[PodState, ...]) -> Progress | None:
    """Return the newest progress: the last word of the leader's agent, else what it reports now."""
    told: dict[str, Any] | None = None
    for pod in pods:
        if not pod.is_over:
            break  # its rank still reports
        if pod.terminated is not None and pod.terminated.message is not None:
            told = pod.terminated.message.progress
            break
    report = observed.report
    live = report.progress if report is not None and report.attempt == status.attempt else None
    merged = {**(live or {}), **{k: v for k, v in (told or {}).items() if v is not None}}
    if not merged:
        return status.progress
    step, total = _count(merged.get("step")), _count(merged.get("totalSteps"))
    pace = _finite(merged.get("stepSeconds"))
    if pace is not None and pace <= 0:
        pace = None
    left = max(0, total - step) if total and step is not None else None
    wait = _finite(left * pace) if left is not None and pace else None
    eta = 0 if left == 0 else (_count(math.ceil(wait)) if wait is not None else None)
    metrics = merged.get("metrics")
    numbers = {
        str(name): number
        for name, value in (metrics.items() if isinstance(metrics, dict) else ())
        if (number := _finite(value)) is not None
    }
    time_ns = _count(merged.get("timeNs"))
    return Progress(
        step=step,
        total_steps=total or None,
        percent=round(min(100.0, 100.0 * step / total), 1) if total and step is not None else None,
        eta_seconds=eta,
        step_seconds=round(pace, 6) if pace else None,
        epoch=_finite(merged.get("epoch")),
        metrics=dict(sorted(numbers.items())[:METRICS_MAX]),
        updated_time=_rfc3339(time_ns / 1e9) if time_ns else None,
    )


def _profile(
    job: Job, observed: Observed, pods: tuple[PodState, ...], *, final: bool
) -> ProfileStatus | None:
    """Return which captures there are, which ranks are missing in them, and which were refused."""
    captures = _scheduled(job, observed, pods, final=final)
    refused = _refused_capture(job)
    if refused is not None and all(capture.id != refused.id for capture in captures):
        captures.append(refused)
    if not captures:
        return job.status.profile
    return ProfileStatus(last_capture_id=captures[-1].id, captures=captures)


def _refused_capture(job: Job) -> Capture | None:
    """Return the entry of a capture that was asked for: refused with its reason, never ignored."""
    asked = job.annotations.get(ANNOTATION_CAPTURE)
    if asked is None:
        return None
    valid = re.fullmatch(CAPTURE_ID, asked)
    reason = "captures on demand are not supported in this version yet; set profiling.mode to Scheduled"
    return Capture(id=asked if valid else "invalid-id", phase="Refused", reason=reason)


def _scheduled(job: Job, observed: Observed, pods: tuple[PodState, ...], *, final: bool) -> list[Capture]:
    spec = job.spec
    assert spec is not None
    if spec.profiling.mode is not ProfilingMode.SCHEDULED:
        return []
    ranks: dict[str, set[int]] = {}
    for capture in observed.report.captures if observed.report is not None else ():
        ranks.setdefault(str(capture.get("id")), set()).update(capture.get("ranks") or ())
    for pod in pods:
        if pod.terminated is not None and pod.terminated.message is not None:
            for capture_id, done in pod.terminated.message.captures.items():
                ranks.setdefault(capture_id, set()).update(done)
    if not ranks and job.status.profile is not None:  # a restarted operator has not been told yet
        return [capture for capture in job.status.profile.captures if capture.phase != "Refused"]
    expected = profiled_ranks(spec, cluster_layout(job, job.status.pod_attempt))
    captures = []
    for capture_id in sorted(ranks, key=lambda name: (len(name), name)):
        missing = sorted(expected - ranks[capture_id])
        phase = "Ready" if not missing else ("Partial" if final else "Capturing")
        captures.append(
            Capture(
                id=capture_id,
                phase=phase,
                ranks=f"{len(expected) - len(missing)}/{len(expected)}",
                path=f"captures/{capture_id}",
                reason=f"no capture from ranks {format_indexes(missing)}" if phase == "Partial" else None,
            )
        )
    return captures


def _display(
    roles: list[RoleStatus], progress: Progress | None, status: JobStatus, *, final: bool
) -> Display:
    shown = eta = ""
    if progress is not None and progress.percent is not None:
        shown = f"{progress.percent:.0f}%"
    elif progress is not None and progress.step is not None:
        shown = f"step {progress.step}"
    if progress is not None and progress.eta_seconds is not None and not final:
        eta = _duration(progress.eta_seconds)
    there = sum(role.succeeded if final else role.ready + role.succeeded for role in roles)
    return Display(
        workers=f"{there}/{sum(role.desired for role in roles)}",
        progress=shown,
        eta=eta,
        restarts=_restarts(status),
    )


def _restarts(status: JobStatus) -> str:
    return str(status.restarts.failures + status.restarts.disruptions)


def _duration(seconds: int) -> str:
    """Return a duration as kubectl prints ages: 45s, 3m, 2h5m, 4d."""
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{hours // 24}d"


def _count(value: object) -> int | None:
    number = _finite(value)
    return int(number) if number is not None and 0 <= number < INTEGER_LIMIT else None


def _finite(value: object) -> float | None:
    """Return a number, or None for what the API can't hold: one NaN makes every status patch a 400."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None  # false for NaN too


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds_since(stamp: str, now: float) -> int:
    return max(0, int(now - datetime.fromisoformat(stamp).timestamp()))
