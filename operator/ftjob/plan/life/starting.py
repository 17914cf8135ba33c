"""How an attempt starts: what it waits for, what is created, and when it has taken too long. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ftjob.models.times import unix
from ftjob.plan.build.bring_agent import build_config_map, config_map_name
from ftjob.plan.build.network_policy import build_network_policy
from ftjob.plan.build.objects import build_claim, build_secret, build_service, service_name
from ftjob.plan.build.pod import build_pod
from ftjob.plan.life import in_place
from ftjob.plan.life.attempt import has_begun, is_waited_for
from ftjob.plan.life.deletion import refs, to_replace
from ftjob.plan.life.fencing import cut_off_together, may_still_run
from ftjob.plan.observed.why_waiting import why_not_running
from ftjob.plan.plan import Changes, NewObject, Plan, Step, soonest
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.manifest import Manifest
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.plan import Config


LOOK_AGAIN_SECONDS = 2.0
"""How soon to look again at what usually announces itself by an event."""
MISSING_SECONDS = 20.0
"""How soon to look again whether somebody has deleted the agent's ConfigMap, without which no pod starts."""


def wait_for_predecessors(attempt: Attempt) -> Plan | None:
    """Wait for the pods of an earlier job of the same name, which hold the names of ours."""
    predecessors = attempt.observed.predecessors
    if attempt.status.start_time is not None or not predecessors:
        return None
    message = f"waits for the pods of an earlier job of this name: {_some(predecessors)}"
    return Plan(Step.WAIT, reason=Reason.PREVIOUS_RUN, message=message, next_look=LOOK_AGAIN_SECONDS)


def wait_to_begin(attempt: Attempt, config: Config) -> Plan | None:
    """Decide what an attempt that has not begun waits for; None when it may, or has."""
    status = attempt.status
    if has_begun(status):
        return None
    if is_waited_for(status):
        return in_place.go_on(attempt)
    step = Step.WAIT if status.start_time is None else Step.HOLD
    taken_back = [pod for pod in attempt.every_pod if not pod.gone]
    if taken_back:
        names = _some(f"{pod.name} on {pod.node}" if pod.is_lost else pod.name for pod in taken_back)
        return Plan(
            step,
            reason=Reason.TAKING_BACK,
            message=f"waits for the pods of a start that was taken back to end: {names}",
            changes=Changes(delete=refs(taken_back)),
            next_look=LOOK_AGAIN_SECONDS,
        )
    return _wait_for_old_pods(attempt, step, config) or _wait_for_backoff(attempt, step)


def _wait_for_old_pods(attempt: Attempt, step: Step, config: Config) -> Plan | None:
    """Wait until no rank of an earlier attempt can run any more: two attempts never run at once."""
    older, alone = attempt.older_pods, cut_off_together(attempt)
    alive = [pod for pod in older if may_still_run(pod, attempt, config, alone=pod.attempt in alone)]
    useless = to_replace(older) if alive else refs(older)
    if not alive and not useless:
        return None
    message = f"waits for the pods of the last attempt to end: {_some(pod.name for pod in alive)}"
    held = {pod.node or "" for pod in alive if pod.is_lost and pod.attempt in alone}
    if held:
        message += f"; no answer from {_some(held)}: bring the node back, or delete it from the cluster"
    return Plan(
        step,
        reason=Reason.OLD_PODS,
        message=message,
        changes=Changes(delete=useless),
        next_look=LOOK_AGAIN_SECONDS,
    )


def _wait_for_backoff(attempt: Attempt, step: Step) -> Plan | None:
    when = attempt.status.next_restart_time
    left = unix(when) - attempt.now if when else 0.0
    if left <= 0:
        return None
    return Plan(step, reason=Reason.BACKING_OFF, message=f"the next attempt starts at {when}", next_look=left)


def start_timeout(attempt: Attempt) -> Plan | None:
    """Fail the job if its workers have been starting for longer than it allows."""
    left = _until_start_timeout(attempt)
    if left is None or left > 0:
        return None
    _, why = why_not_running(attempt.pods, attempt.observed.groups)
    limit = attempt.spec.scheduling.timeout_seconds
    message = f"not all workers ran within scheduling.timeoutSeconds ({limit} s): {why}"
    changes = Changes(delete=refs(attempt.observed.pods))
    return Plan(Step.FAIL, reason=Reason.START_TIMEOUT, message=message, changes=changes)


def _until_start_timeout(attempt: Attempt) -> float | None:
    """Return the seconds until the attempt has been starting for too long."""
    limit, status = attempt.spec.scheduling.timeout_seconds, attempt.status
    if limit is None or attempt.has_run:
        return None
    began = unix(status.attempt_time) if has_begun(status) and status.attempt_time else attempt.now
    return began + limit - attempt.now


def complete(attempt: Attempt, config: Config) -> Plan:
    """Start the attempt, or create what is absent of it."""
    create: tuple[NewObject, ...] = ()
    wait = attempt.observed.until_next_try(attempt.now)
    useless = (*refs(attempt.older_pods), *refs(attempt.surplus))
    if not useless and wait is None:  # created by a request that was thought lost; first they go
        create = build(attempt, attempt.layout, attempt.absent, config)
    return Plan(
        Step.CONTINUE if has_begun(attempt.status) else Step.START,
        changes=Changes(create=create, delete=useless),
        next_look=soonest(_until_start_timeout(attempt), wait, MISSING_SECONDS if _placed(attempt) else None),
    )


def build(
    attempt: Attempt, layout: Layout, workers: Iterable[WorkerPlace], config: Config
) -> tuple[NewObject, ...]:
    """Return the pods of some workers, after the objects that they need and that are not known to exist."""
    job, existing = attempt.job, attempt.observed.existing
    workers = tuple(workers)
    agent = NewObject(
        "ConfigMap", config_map_name(config.agent), partial(build_config_map, job.namespace, config.agent)
    )
    is_used = (workers or _placed(attempt)) and (agent.kind, agent.name) not in existing
    needed: list[Manifest] = []
    if ("Service", service_name(job)) not in existing:
        needed.append(build_service(job))
    policy = build_network_policy(job, config)
    if policy is not None:
        needed.append(policy)
    if not attempt.pods:  # they come before the first pod, so a pod proves that they are there
        claim = build_claim(job, config)
        needed += [build_secret(job, config), *([claim] if claim else [])]
    companions = (NewObject.of(m) for m in needed if (m["kind"], m["metadata"]["name"]) not in existing)
    pods = (
        NewObject("Pod", worker.name, partial(build_pod, job, layout, worker, config), worker.role)
        for worker in workers
    )
    return (*((agent,) if is_used else ()), *companions, *pods)


def _placed(attempt: Attempt) -> bool:
    """Whether pods wait on their nodes, where they may still need what they mount."""
    return any(pod.node is not None and not pod.running and not pod.is_over for pod in attempt.pods)


def _some(names: Iterable[str]) -> str:
    every = sorted(names)
    shown = ", ".join(every[:3])
    return shown if len(every) <= 3 else f"{shown} and {len(every) - 3} more"
