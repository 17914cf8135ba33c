"""The decision: from a job and what is observed of it to a plan. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.defaults import success_of
from ftjob.api.spec import CleanPods, SuccessPolicy
from ftjob.api.status import ConditionType, Failure
from ftjob.api.validate import validate
from ftjob.plan.decision import Plan, PodRef, Step
from ftjob.plan.layout import cluster_layout
from ftjob.plan.objects import build_claim, build_pod, build_secret, build_service, service_name
from ftjob.plan.observed import RefusalKind
from ftjob.plan.outcome import EVIDENCE_SECONDS, POD_VANISHED, first_failure, parse_indexes, sentence

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.api.status import JobStatus
    from ftjob.plan.decision import Config, Manifest
    from ftjob.plan.layout import Layout, Place
    from ftjob.plan.observed import Observed, PodState, Refusal

INVALID_SPEC = "InvalidSpec"
NAME_CONFLICT = "NameConflict"
PREVIOUS_RUN = "PreviousRunTerminating"
FORBIDDEN = "CreationForbidden"
TAKING_BACK = "TakingBackPods"

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
    pods = tuple(pod for pod in observed.pods if pod.attempt == job.status.pod_attempt)
    if _is_at_rest(job):
        return Plan(Step.REST, delete=_to_clean(job, pods))
    if job.status.start_time is None or job.spec is None:
        problems = validate(job)
        if problems:
            message = "; ".join(str(problem) for problem in problems[:5])
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            return Plan(Step.REFUSE, reason=INVALID_SPEC, message=message + more, problems=problems)
        if observed.predecessors:
            return Plan(
                Step.WAIT,
                reason=PREVIOUS_RUN,
                message=f"waits for the pods of an earlier job of this name: {_some(observed.predecessors)}",
                next_look=LOOK_AGAIN_SECONDS,
            )
    if observed.refusal is not None:
        answer = _after_refusal(observed.refusal, pods, now=now)
        if answer is not None:
            return answer
    if job.status.start_time is None and any(not pod.gone for pod in pods):
        return Plan(
            Step.WAIT,
            delete=_refs(pods),
            reason=TAKING_BACK,
            message="waits for the pods of a start that was taken back to end",
            next_look=LOOK_AGAIN_SECONDS,
        )
    return _go_on(job, observed, pods, now=now, config=config)


def _is_at_rest(job: Job) -> bool:
    """Whether the job is finished; an invalid spec that was edited since gets another chance."""
    if job.status.phase is None or not job.status.phase.is_final:
        return False
    failed = next((c for c in job.status.conditions if c.type is ConditionType.FAILED), None)
    invalid = failed is not None and failed.status == "True" and failed.reason == INVALID_SPEC
    return not (invalid and job.generation > (job.status.observed_generation or 0))


def _after_refusal(refusal: Refusal, pods: tuple[PodState, ...], *, now: float) -> Plan | None:
    """Decide what follows from an object that was not created; None when it is time to try again."""
    what = f"{refusal.object_kind} {refusal.object_name}: {refusal.message}"
    if refusal.kind is RefusalKind.INVALID:
        remedy = "correct spec.template and apply the job again" if refusal.object_kind == "Pod" else ""
        message = f"the API server refuses {what}" + (f"; {remedy}" if remedy else "")
        return Plan(Step.REFUSE, delete=_refs(pods), reason=INVALID_SPEC, message=message)
    if refusal.kind is RefusalKind.CONFLICT:
        failure = Failure(reason=NAME_CONFLICT, message=refusal.message)
        return Plan(
            Step.FAIL, delete=_refs(pods), reason=NAME_CONFLICT, message=refusal.message, failure=failure
        )
    if refusal.retry_at <= now:
        return None
    reason = PREVIOUS_RUN if refusal.kind is RefusalKind.TERMINATING else FORBIDDEN
    # Half a job helps nobody: what was created of it is taken back, so that others can run meanwhile.
    return Plan(
        Step.WAIT,
        delete=_refs(pods),
        reason=reason,
        message=refusal.message if reason == PREVIOUS_RUN else what,
        next_look=refusal.retry_at - now,
    )


def _go_on(job: Job, observed: Observed, pods: tuple[PodState, ...], *, now: float, config: Config) -> Plan:
    """Start the attempt, create what is absent of it, or end it."""
    layout = cluster_layout(job, job.status.pod_attempt)
    done = succeeded_places(job.status, pods)
    if _has_succeeded(layout, done):
        return Plan(Step.SUCCEED, delete=_to_clean(job, pods))
    ended_badly = [
        pod
        for pod in pods
        if pod.is_over and not pod.succeeded and pod.place not in done and not pod.was_released
    ]
    if ended_badly:
        return _end(job, pods, ended_badly, now=now)
    present = {pod.name for pod in pods}
    absent = [w for w in layout.workers if w.name not in present and w.place not in done]
    if absent and job.status.running_time is not None:
        # All pods had been running, and this one's end was not seen: nobody knows what became of it.
        lost = absent[0]
        failure = Failure(
            role=lost.role,
            index=lost.index,
            pod=lost.name,
            reason=POD_VANISHED,
            message=f"pod {lost.name} is gone and its end was not seen; look for who deletes pods",
        )
        return Plan(
            Step.FAIL,
            delete=_to_clean(job, pods),
            reason=POD_VANISHED,
            message=failure.message,
            failure=failure,
        )
    names = {worker.name for worker in absent}
    create = _companions(job, observed, pods, config) + tuple(
        build_pod(job, layout, worker, config) for worker in layout.workers if worker.name in names
    )
    step = Step.START if job.status.start_time is None else Step.CONTINUE
    return Plan(step, create=create)


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


def _end(job: Job, pods: tuple[PodState, ...], failed: list[PodState], *, now: float) -> Plan:
    """Fail the attempt, once the other workers have had the time to say what happened to them."""
    seen = min((pod.terminated.seen for pod in failed if pod.terminated is not None), default=0.0)
    left = seen + EVIDENCE_SECONDS - now
    if left > 0 and not all(pod.is_over for pod in pods):
        return Plan(Step.CONTINUE, next_look=left)
    failure = first_failure(failed)
    assert failure is not None
    return Plan(
        Step.FAIL,
        delete=_to_clean(job, pods),
        reason=failure.reason,
        message=sentence(failure),
        failure=failure,
    )


def succeeded_places(status: JobStatus, pods: tuple[PodState, ...]) -> frozenset[Place]:
    """Return the workers that have succeeded: those recorded in status, and those seen now."""
    recorded = {(role.name, i) for role in status.roles for i in parse_indexes(role.succeeded_indexes)}
    return frozenset(recorded | {pod.place for pod in pods if pod.succeeded})


def _has_succeeded(layout: Layout, done: frozenset[Place]) -> bool:
    if success_of(layout.spec) is SuccessPolicy.ALL_WORKERS:
        return all(worker.place in done for worker in layout.workers)
    return layout.leader.place in done


def _to_clean(job: Job, pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods that go when the job ends."""
    policy = job.spec.clean_pods if job.spec is not None else CleanPods.RUNNING
    if policy is CleanPods.ALL:
        return _refs(pods)
    if policy is CleanPods.RUNNING:
        return _refs(tuple(pod for pod in pods if not pod.is_over))
    return ()


def _refs(pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    return tuple(PodRef(pod.name, pod.uid) for pod in pods if not pod.gone and not pod.deleting)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
