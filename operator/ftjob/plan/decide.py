"""The decision: from a job and what is observed of it to a plan. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.defaults import success_of
from ftjob.api.job import Job
from ftjob.api.problem import Problem
from ftjob.api.validate import validate
from ftjob.models.names import KUEUE_LABEL, KUEUE_PREBUILT
from ftjob.models.spec import SuccessPolicy
from ftjob.models.status import ConditionType, Failure
from ftjob.models.times import unix
from ftjob.plan.build.objects import build_claim, build_secret, build_service, service_name
from ftjob.plan.build.pod import build_pod
from ftjob.plan.decision import Plan, Step
from ftjob.plan.gangs.arrange import arrange, gang_problem
from ftjob.plan.kueue.queue import wait_in_queue, with_workload
from ftjob.plan.kueue.workload import version_of, waits_for_kueue
from ftjob.plan.layout import cluster_layout
from ftjob.plan.life import in_place
from ftjob.plan.life.deletion import refs, to_clean, to_replace
from ftjob.plan.life.elastic import counted, goes_on_without, latecomers, present_pods, replacements
from ftjob.plan.life.elastic import has_succeeded as elastic_success
from ftjob.plan.life.ending import after_failures, end_of_attempt, give_up, rest
from ftjob.plan.life.fencing import may_still_run, misses_others
from ftjob.plan.life.first_failure import vanished
from ftjob.plan.life.record import active_seconds, has_begun, is_waited_for, succeeded_places
from ftjob.plan.observed.state import Observed, RefusalKind
from ftjob.plan.observed.why_waiting import why_not_running
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.api.job import Job
    from ftjob.models.layout import Layout, Place, WorkerPlace
    from ftjob.models.manifest import Manifest
    from ftjob.plan.decision import Config, PodRef, Replacements
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import Observed, Refusal


LOOK_AGAIN_SECONDS = 2.0
"""How soon to look again at what usually announces itself by an event."""


def plan(job: Job, observed: Observed, *, now: float, config: Config) -> Plan:
    """Decide what should exist in the cluster for a job now, and the step in its life.

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
    decision = arrange(_decide(job, observed, now=now, config=config), job, observed)
    return with_workload(decision, job, observed, now=now, config=config)


def _decide(job: Job, observed: Observed, *, now: float, config: Config) -> Plan:
    if _is_at_rest(job):
        return rest(job, observed.pods, now=now)
    if job.status.start_time is None or job.spec is None:
        problems = validate(job) or impossible(job, observed)
        if problems:
            message = "; ".join(str(problem) for problem in problems[:5])
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            return Plan(Step.REFUSE, reason=Reason.INVALID_SPEC, message=message + more, problems=problems)
    assert job.spec is not None
    pods = tuple(pod for pod in observed.pods if pod.attempt == job.status.pod_attempt)
    if job.spec.suspend:
        return Plan(Step.SUSPEND, delete=to_replace(observed.pods))
    late = _is_late(job, now)
    if late:
        return _with_limits(give_up(job, observed.pods, Reason.DEADLINE_EXCEEDED, late), job, now)
    if job.status.start_time is None and observed.predecessors:
        return Plan(
            Step.WAIT,
            reason=Reason.PREVIOUS_RUN,
            message=f"waits for the pods of an earlier job of this name: {_some(observed.predecessors)}",
            next_look=LOOK_AGAIN_SECONDS,
        )
    refusal = observed.refusal
    decision = None
    if refusal is not None and not goes_on_without(job, refusal, pods):
        decision = _after_refusal(job, refusal, pods, now=now)
    if decision is None:
        decision = wait_in_queue(job, observed, config=config)
        decision = decision or _wait_to_begin(job, observed, pods, now=now, config=config)
    if decision is None:
        decision = _go_on(job, observed, pods, now=now, config=config)
    return _with_limits(decision, job, now)


def _is_at_rest(job: Job) -> bool:
    """Whether the job is finished; an invalid spec that was edited since gets another chance."""
    if job.status.phase is None or not job.status.phase.is_final:
        return False
    failed = next((c for c in job.status.conditions if c.type is ConditionType.FAILED), None)
    invalid = failed is not None and failed.status == "True" and failed.reason == Reason.INVALID_SPEC
    return not (invalid and job.generation > (job.status.observed_generation or 0))


def _is_late(job: Job, now: float) -> str:
    """Return why the job's time is up, or nothing."""
    assert job.spec is not None
    deadline = job.spec.active_deadline_seconds
    if deadline is None or active_seconds(job.status, now) < deadline:
        return ""
    return f"the job was active for activeDeadlineSeconds ({deadline} s)"


def _with_limits(decision: Plan, job: Job, now: float) -> Plan:
    """Look again when the deadline is reached, and when a job that ends now has lived long enough."""
    assert job.spec is not None
    if decision.step in {Step.SUCCEED, Step.FAIL}:
        ttl = job.spec.ttl_seconds_after_finished
        return decision if ttl is None else replace(decision, next_look=float(ttl))
    deadline = job.spec.active_deadline_seconds
    if deadline is None or decision.step is Step.REFUSE:
        return decision
    left = deadline - active_seconds(job.status, now)
    looks = [left] if decision.next_look is None else [left, decision.next_look]
    return replace(decision, next_look=min(looks))


def _after_refusal(job: Job, refusal: Refusal, pods: tuple[PodState, ...], *, now: float) -> Plan | None:
    """Decide what follows from an object that was not created; None when it is time to try again."""
    what = f"{refusal.object_kind} {refusal.object_name}: {refusal.message}"
    if refusal.kind is RefusalKind.INVALID:
        remedy = "correct spec.template and apply the job again" if refusal.object_kind == "Pod" else ""
        message = f"the API server refuses {what}" + (f"; {remedy}" if remedy else "")
        return Plan(Step.REFUSE, delete=refs(pods), reason=Reason.INVALID_SPEC, message=message)
    if refusal.kind is RefusalKind.CONFLICT:
        failure = Failure(reason=Reason.NAME_CONFLICT, message=refusal.message)
        return Plan(
            Step.FAIL,
            delete=refs(pods),
            reason=Reason.NAME_CONFLICT,
            message=refusal.message,
            failure=failure,
        )
    if refusal.retry_at <= now:
        return None
    reason = Reason.PREVIOUS_RUN if refusal.kind is RefusalKind.TERMINATING else Reason.FORBIDDEN
    step = Step.WAIT
    if job.status.attempt:
        step = Step.HOLD if job.status.pod_attempt == job.status.attempt else Step.RECREATE
    # Half a job helps nobody: what was created of it is taken back, so that others can run meanwhile.
    return Plan(
        step,
        delete=refs(pods),
        reason=reason,
        message=refusal.message if reason == Reason.PREVIOUS_RUN else what,
        next_look=refusal.retry_at - now,
    )


def _wait_to_begin(
    job: Job, observed: Observed, pods: tuple[PodState, ...], *, now: float, config: Config
) -> Plan | None:
    """Decide what an attempt that has not begun waits for; None when it may, or has."""
    if has_begun(job.status):
        return None
    if is_waited_for(job.status):
        return in_place.go_on(job, observed, pods, now=now)
    step = Step.WAIT if job.status.start_time is None else Step.HOLD
    taken_back = [pod for pod in pods if not pod.gone]
    if taken_back:
        names = _some(f"{pod.name} on {pod.node}" if pod.is_lost else pod.name for pod in taken_back)
        return Plan(
            step,
            delete=refs(taken_back),
            reason=Reason.TAKING_BACK,
            message=f"waits for the pods of a start that was taken back to end: {names}",
            next_look=LOOK_AGAIN_SECONDS,
        )
    older = tuple(pod for pod in observed.pods if pod.attempt < job.status.pod_attempt)
    lost = {pod.attempt for pod in older if pod.is_lost}
    alone = {attempt for attempt in lost if not misses_others(job, attempt, observed)}
    alive = [p for p in older if may_still_run(job, p, observed, config, alone=p.attempt in alone, now=now)]
    useless = to_replace(older) if alive else refs(older)
    if alive or useless:
        message = f"waits for the pods of the last attempt to end: {_some(pod.name for pod in alive)}"
        held = [pod for pod in alive if pod.is_lost and pod.attempt in alone]
        if held:
            nodes = _some({pod.node or "" for pod in held})
            message += f"; no answer from {nodes}: bring the node back, or delete it from the cluster"
        return Plan(
            step, delete=useless, reason=Reason.OLD_PODS, message=message, next_look=LOOK_AGAIN_SECONDS
        )
    left = unix(job.status.next_restart_time) - now if job.status.next_restart_time else 0.0
    if left > 0:
        return Plan(
            step,
            reason=Reason.BACKING_OFF,
            message=f"the next attempt starts at {job.status.next_restart_time}",
            next_look=left,
        )
    return None


def _go_on(job: Job, observed: Observed, pods: tuple[PodState, ...], *, now: float, config: Config) -> Plan:
    """Start the attempt, create what is absent of it, or end it."""
    status = job.status
    layout = cluster_layout(job, status.pod_attempt)
    older = refs(pod for pod in observed.pods if pod.attempt < status.pod_attempt)
    every, pods = pods, present_pods(job, pods)
    done = succeeded_places(status, pods)
    if has_succeeded(layout, done, pods):
        useless = (*older, *_surplus(every, pods), *latecomers(job, pods), *to_clean(job, pods))
        return Plan(Step.SUCCEED, delete=tuple(dict.fromkeys(useless)))
    changes = replacements(job, layout, pods, done, now=now)
    present = {pod.name for pod in pods}
    absent = [w for w in layout.workers if w.name not in present and w.place not in done]
    missed = [w for w in absent if layout.spec.elastic is None or w is layout.leader]
    ending = _ending(job, observed, every, done, missed, goes_on=changes is not None, now=now)
    if ending is not None:
        return ending
    older = (*older, *_surplus(every, pods))
    if changes is not None:
        return _with_changes(job, observed, pods, changes, older=older, now=now, config=config)
    left = _until_start_timeout(job, now)
    if left is not None and left <= 0:
        assert job.spec is not None
        _, why = why_not_running(pods, observed.groups)
        limit = job.spec.scheduling.timeout_seconds
        message = f"not all workers ran within scheduling.timeoutSeconds ({limit} s): {why}"
        return replace(give_up(job, pods, Reason.START_TIMEOUT, message), delete=refs(observed.pods))
    create: tuple[Manifest, ...] = ()
    wait = _until_next_try(observed, now)
    if not older and wait is None:  # created by a request that was thought lost; first they go
        create = _companions(job, observed, pods, config)
        create += tuple(build_pod(job, layout, worker, config) for worker in absent)
    step = Step.CONTINUE if has_begun(status) else Step.START
    looks = [look for look in (left, wait) if look is not None]
    return Plan(step, create=create, delete=older, next_look=min(looks, default=None))


def _ending(
    job: Job,
    observed: Observed,
    every: tuple[PodState, ...],
    done: frozenset[Place],
    missed: list[WorkerPlace],
    *,
    goes_on: bool,
    now: float,
) -> Plan | None:
    """Decide how an attempt ends that has not succeeded; None if it has not ended.

    Parameters
    ----------
    every
        The pods of the present attempt, also those that nobody wants any more.
    missed
        The workers without a pod that the attempt can't do without.
    goes_on
        Whether it is an elastic job that does without those that have ended.
    """
    status = job.status
    ended_badly = [
        pod
        for pod in present_pods(job, every)
        if pod.is_lost
        or (pod.is_over and not pod.succeeded and pod.place not in done and not pod.was_released)
    ]
    if ended_badly and not goes_on:
        return after_failures(job, every, ended_badly, now=now)
    if missed and (status.running_time is not None or status.pod_attempt < status.attempt):
        # All pods had been running, and this one's end was not seen: nobody knows what became of it.
        lost = missed[0]
        return end_of_attempt(job, vanished(lost.name, lost.role, lost.index), every, now=now)
    return in_place.after_halt(job, observed, every, now=now)


def _until_next_try(observed: Observed, now: float) -> float | None:
    """Return the seconds until what was refused may be tried again, if it may not be yet."""
    left = observed.refusal.retry_at - now if observed.refusal is not None else 0.0
    return left if left > 0 else None


def _with_changes(
    job: Job,
    observed: Observed,
    pods: tuple[PodState, ...],
    changes: Replacements,
    *,
    older: tuple[PodRef, ...],
    now: float,
    config: Config,
) -> Plan:
    """Let a running elastic job have the workers that it asks for; what is in the way of that waits."""
    layout = cluster_layout(counted(job, changes), job.status.pod_attempt)
    done = succeeded_places(job.status, pods)
    names = {pod.name for pod in pods}
    # The leader's end is near when it has succeeded: nobody joins then.
    absent = [w for w in layout.workers if w.name not in names and w.place not in done]
    wait = _until_next_try(observed, now)
    wanted = [] if layout.leader.place in done or wait is not None else absent
    companions = _companions(job, observed, pods, config)
    looks = [look for look in (changes.next_look, wait) if look is not None]
    replaced = {pod.name for pod in pods} - {worker.name for worker in layout.workers}
    return Plan(
        Step.CONTINUE,
        create=companions + tuple(build_pod(job, layout, worker, config) for worker in wanted),
        delete=(*older, *refs(pod for pod in pods if pod.name in replaced)),
        reason=Reason.WORKER_REPLACED if changes.message else "",
        message=changes.message,
        replacements=changes,
        next_look=min(looks, default=None),
    )


def _surplus(every: tuple[PodState, ...], wanted: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods of the present attempt that nobody wants any more."""
    names = {pod.name for pod in wanted}
    return refs(pod for pod in every if pod.name not in names)


def _until_start_timeout(job: Job, now: float) -> float | None:
    """Return the seconds until the present attempt has been starting for too long."""
    assert job.spec is not None
    limit, status = job.spec.scheduling.timeout_seconds, job.status
    if limit is None or status.running_time is not None:
        return None
    began = unix(status.attempt_time) if has_begun(status) and status.attempt_time else now
    return began + limit - now


def _companions(
    job: Job, observed: Observed, pods: tuple[PodState, ...], config: Config
) -> tuple[Manifest, ...]:
    """Return the objects that the pods need and that are not known to exist."""
    needed: list[Manifest] = []
    if ("Service", service_name(job)) not in observed.existing:
        needed.append(build_service(job))
    if not pods:  # they come before the first pod, so a pod proves that they are there
        claim = build_claim(job, config)
        needed += [build_secret(job, config), *([claim] if claim else [])]
    return tuple(m for m in needed if (m["kind"], m["metadata"]["name"]) not in observed.existing)


def has_succeeded(layout: Layout, done: frozenset[Place], pods: tuple[PodState, ...]) -> bool:
    """Whether the workers whose success is the job's have succeeded."""
    if success_of(layout.spec) is SuccessPolicy.ALL_WORKERS and layout.spec.elastic is not None:
        return elastic_success(layout, pods, done)
    if success_of(layout.spec) is SuccessPolicy.ALL_WORKERS:
        return all(worker.place in done for worker in layout.workers)
    return layout.leader.place in done


def _some(names: Iterable[str]) -> str:
    every = sorted(names)
    shown = ", ".join(every[:3])
    return shown if len(every) <= 3 else f"{shown} and {len(every) - 3} more"


def impossible(job: Job, observed: Observed) -> tuple[Problem, ...]:
    """Return what a good job asks for that this cluster can't do."""
    if job.spec is None:
        return ()
    found = (gang_problem(job.spec, observed.served), _queue_problem(job, observed.served))
    return tuple(problem for problem in found if problem is not None)


def _queue_problem(job: Job, served: frozenset[tuple[str, str]]) -> Problem | None:
    """Return what keeps a job with Kueue's label from being queued."""
    if not waits_for_kueue(job) or version_of(served) is not None:
        return None
    return Problem(
        f"metadata.labels[{KUEUE_PREBUILT if job.queue is None else KUEUE_LABEL}]",
        "this cluster does not serve Kueue's Workload",
        "install Kueue, or remove it",
    )
