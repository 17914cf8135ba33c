"""Kueue: a job with its label waits in a queue, runs where it is let in, and stops when it is told to. Pure.

We do what Kueue's own integrations do (kueue.sigs.k8s.io/docs/tasks/dev/integrate_a_custom_job): one Workload
a job, which says what the pods will ask for. Kueue admits and evicts by the Workload's status; once an
evicted job has no pod left, it is for us to give the admission back.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftjob.api.job import Job
from ftjob.api.problem import Problem
from ftjob.models.manifest import items, mapping
from ftjob.models.names import (
    KUEUE_LABEL,
    KUEUE_POD_SET,
    KUEUE_PREBUILT,
    KUEUE_TOPOLOGY_GATE,
    KUEUE_WORKLOAD,
    LABEL_ROLE,
)
from ftjob.models.status import Phase
from ftjob.plan.gangs.arrange import gang_size
from ftjob.plan.kueue import prebuilt
from ftjob.plan.kueue.workload import (
    build_workload,
    difference,
    priority,
    version_of,
    waits_for_kueue,
    workload_of,
    workload_refs,
)
from ftjob.plan.kueue.workload_status import finish, give_back, is_evicted, say_ready
from ftjob.plan.life.deletion import to_replace
from ftjob.plan.observed.kueue_admission import assignments
from ftjob.plan.observed.state import Lookup
from ftjob.plan.plan import Changes, ForKueue, NewObject, Plan, Step
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.models.manifest import Manifest
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Config, StatusPatch

FLAVOR = "ResourceFlavor"
ANSWER_SECONDS = 60.0
"""How long a wait for something that can't be read lasts, before it is tried again."""


def queue_problem(job: Job, served: frozenset[tuple[str, str]]) -> Problem | None:
    """Return what keeps a job with Kueue's label from being queued."""
    if not waits_for_kueue(job) or version_of(served) is not None:
        return None
    return Problem(
        f"metadata.labels[{KUEUE_PREBUILT if job.queue is None else KUEUE_LABEL}]",
        "this cluster does not serve Kueue's Workload",
        "install Kueue, or remove it",
    )


def as_admitted(job: AnyJob, observed: Observed) -> AnyJob:
    """Return the job with as many workers as Kueue has let in, if it is elastic and that is fewer."""
    workload = workload_of(job, observed)
    if not isinstance(job, Job) or workload is None:
        return job
    if job.spec.elastic is None or job.spec.workers is None:
        return job
    counts = [a.get("count") for a in assignments(workload) if a.get("name") == "worker"]
    if not waits_for_kueue(job) or not counts or not isinstance(counts[0], int):
        return job
    workers = min(job.spec.workers, max(counts[0], job.spec.elastic.min_workers))
    return replace(job, spec=job.spec.model_copy(update={"workers": workers}))


def wait_in_queue(job: Job, observed: Observed, *, config: Config) -> Plan | None:
    """Decide what a job does that Kueue has not let in; None when it may run."""
    if not waits_for_kueue(job):
        return None
    workload = workload_of(job, observed)
    reason, message = _words(job, workload, observed)
    changes = Changes(delete=to_replace(observed.pods))
    waits = Plan(Step.QUEUE, reason=reason, message=message, changes=changes)
    # Between attempts a job waits for other things, and its new pods wait for what has to be read.
    fresh = job.status.start_time is None or job.status.phase is Phase.QUEUED
    if workload is not None and fresh and job.prebuilt_workload:
        differs = difference(job, workload, config)
        if differs:
            message = f"Kueue's Workload {workload.name} was made for other pods: {differs}"
            return replace(waits, reason=Reason.OUT_OF_SYNC, message=message)
    if workload is not None and workload.is_admitted:
        return _read_first(waits, _flavors(workload), observed) if fresh else None
    if workload is not None or job.prebuilt_workload or _alive(observed):
        return waits
    return make_workload(waits, job, observed, config)


def make_workload(waits: Plan, job: Job, observed: Observed, config: Config) -> Plan:
    """Have the Workload made, once it is known how urgent it is, and the last one of this name is gone."""
    if any(workload.deleting for workload in observed.workloads):
        return waits
    needed = priority(job, observed)
    unready = _read_first(waits, needed, observed)
    if unready is not None:
        return unready
    workload = build_workload(job, observed, config)
    return replace(waits, changes=replace(waits.changes, create=(NewObject.of(workload),)))


def _read_first(waits: Plan, needed: tuple[Lookup, ...], observed: Observed) -> Plan | None:
    """Wait until what a decision needs has been read; None if it has."""
    missing = _unknown(needed, observed)
    if missing:
        return replace(waits, kueue=ForKueue(look_up=missing), next_look=0.0)
    failed = "; ".join(
        observed.looked_up[lookup].error for lookup in needed if observed.looked_up[lookup].error
    )
    if failed:
        return replace(waits, reason=Reason.KUEUE_UNREADABLE, message=failed, next_look=ANSWER_SECONDS)
    return None


def with_workload(plan: Plan, job: AnyJob, observed: Observed, *, now: float, config: Config) -> Plan:
    """Add to a plan what it means for the Workload: what its status says, and where the pods may run."""
    mine = workload_of(job, observed)
    others = tuple(w for w in observed.workloads if w is not mine)
    if mine is None and prebuilt.is_awaited(job, observed) and plan.step is not Step.SUSPEND:
        plan = prebuilt.adopt(plan, job, observed)
    if mine is None or not waits_for_kueue(job) or _is_useless(plan, mine, job, observed, config):
        return _without(observed.workloads, plan)
    say = _say(plan, mine, job, observed, now)
    plan = _without(others, replace(plan, kueue=replace(plan.kueue, say=say)))
    if not plan.changes.pods:
        return plan
    flavors = _flavors(mine)
    if not _is_known(flavors, observed):
        create = tuple(new for new in plan.changes.create if new.kind != "Pod")
        missing = _unknown(flavors, observed)
        return replace(
            plan,
            changes=replace(plan.changes, create=create),
            kueue=replace(plan.kueue, look_up=missing),
            next_look=0.0 if missing else ANSWER_SECONDS,
        )
    return replace(plan, changes=plan.changes.with_pods(partial(_place, workload=mine, observed=observed)))


def _without(workloads: tuple[WorkloadState, ...], plan: Plan) -> Plan:
    """Have Workloads deleted."""
    remove = (*plan.changes.remove, *workload_refs(workloads))
    return replace(plan, changes=replace(plan.changes, remove=remove))


def _alive(observed: Observed) -> tuple[PodState, ...]:
    """Return the pods that use what was admitted; one on a lost node does not, and may stay for ever."""
    return tuple(pod for pod in observed.pods if not pod.is_over and not pod.is_lost)


def _is_useless(plan: Plan, workload: WorkloadState, job: AnyJob, observed: Observed, config: Config) -> bool:
    """Whether nobody needs the Workload any more: it frees what it holds when it goes.

    One that somebody else has made is theirs to delete.
    """
    if job.prebuilt_workload:
        return False
    if plan.step is Step.REFUSE:
        return True
    if plan.step is Step.SUSPEND:
        return not _alive(observed)
    return plan.step is not Step.REST and isinstance(job, Job) and is_outdated(workload, job, config)


def is_outdated(workload: WorkloadState, job: Job, config: Config) -> bool:
    """Whether the job was edited while it waited, so that another Workload has to ask for it."""
    if workload.condition("QuotaReserved"):
        return False
    return workload.queue != job.queue or bool(difference(job, workload, config))


def _words(job: Job, workload: WorkloadState | None, observed: Observed) -> tuple[str, str]:
    """Return why the job waits, in Kueue's own words where it has said any."""
    if workload is not None:
        return _stopped(workload) or (Reason.QUEUED, _waits(workload))
    if job.prebuilt_workload:
        return Reason.WORKLOAD_MISSING, prebuilt.awaited(job, observed)
    return Reason.QUEUED, f"waits in Kueue's queue {job.queue}"


def _stopped(workload: WorkloadState) -> tuple[str, str] | None:
    """Return why a job that might have run may not any more, or None."""
    name, said = f"Kueue's Workload {workload.name}", workload.conditions
    if workload.condition("Finished"):
        return Reason.WORKLOAD_FINISHED, f"{name} is over: {said['Finished'].get('message', '')}"
    if not workload.active:
        return Reason.DEACTIVATED, f"{name} is not active: set its spec.active to true"
    if workload.condition("Evicted"):
        evicted = said["Evicted"]
        return (
            Reason.EVICTED,
            f"Kueue has evicted the job ({evicted.get('reason')}): {evicted.get('message', '')}",
        )
    return None


def _waits(workload: WorkloadState) -> str:
    waits = f"waits in Kueue's queue {workload.queue}"
    reserved = workload.conditions.get("QuotaReserved", {})
    if reserved.get("status") != "True":
        said = reserved.get("message")
        return f"{waits}: {said}" if said else waits
    admitted = workload.conditions.get("Admitted", {})
    return f"{waits}: quota is reserved; {admitted.get('message') or 'its admission checks go on'}"


def _flavors(workload: WorkloadState) -> tuple[Lookup, ...]:
    names = {name for a in assignments(workload) for name in mapping(a, "flavors").values()}
    return tuple(Lookup(workload.api_version, FLAVOR, name) for name in sorted(names))


def _unknown(needed: tuple[Lookup, ...], observed: Observed) -> tuple[Lookup, ...]:
    return tuple(lookup for lookup in needed if lookup not in observed.looked_up)


def _is_known(needed: tuple[Lookup, ...], observed: Observed) -> bool:
    return all(lookup in observed.looked_up and not observed.looked_up[lookup].error for lookup in needed)


def _place(pod: Manifest, workload: WorkloadState, observed: Observed) -> None:
    """Put onto a new pod what the admission says: the flavours' nodes, and what admission checks add."""
    role = pod["metadata"]["labels"][LABEL_ROLE]
    meta, spec = pod["metadata"], pod["spec"]
    selector, tolerations = {**(spec.get("nodeSelector") or {})}, spec.setdefault("tolerations", [])
    meta["labels"][KUEUE_POD_SET] = role
    meta["annotations"][KUEUE_WORKLOAD] = workload.name
    updates: list[dict[str, Any]] = []
    for assignment in assignments(workload):
        if assignment.get("name") != role:
            continue
        for name in dict.fromkeys(mapping(assignment, "flavors").values()):
            flavor = mapping(observed.looked_up[Lookup(workload.api_version, FLAVOR, name)].body, "spec")
            updates.append(
                {"nodeSelector": flavor.get("nodeLabels"), "tolerations": flavor.get("tolerations")}
            )
        if "topologyAssignment" in assignment:
            spec.setdefault("schedulingGates", []).append({"name": KUEUE_TOPOLOGY_GATE})
    for check in items(workload.status, "admissionChecks"):
        updates += [update for update in items(check, "podSetUpdates") if update.get("name") == role]
    for update in updates:
        selector |= mapping(update, "nodeSelector")
        tolerations += [t for t in items(update, "tolerations") if t not in tolerations]
        meta["labels"] = {**mapping(update, "labels"), **meta["labels"]}
        meta["annotations"] = {**mapping(update, "annotations"), **meta["annotations"]}
    if selector:
        spec["nodeSelector"] = selector


def _say(
    plan: Plan, workload: WorkloadState, job: AnyJob, observed: Observed, now: float
) -> StatusPatch | None:
    """Return what the Workload's status has to say, if it does not yet: one thing at a time."""
    end = _end(plan, job)
    if end or workload.condition("Finished"):
        return finish(workload, end, plan.message or "the job has ended", now=now)
    if is_evicted(workload):
        return None if _alive(observed) else give_back(workload, now=now)
    if not isinstance(job, Job):
        return None
    pods = observed.pods_of(job.status.pod_attempt)
    ready = sum(p.succeeded or (p.running and not p.is_over) for p in pods) >= gang_size(job.spec)
    return say_ready(workload, ready, now=now)


def _end(plan: Plan, job: AnyJob) -> str:
    """Return the reason for which the Workload is over, or nothing.

    MultiKueue takes ``OutOfSync`` for no end of the job: it lets the job be admitted anew
    (``reconcileGroup`` in its pkg/controller/admissionchecks/multikueue/workload.go, v0.19.2).
    """
    if plan.step is Step.SUCCEED or job.status.phase is Phase.SUCCEEDED:
        return Reason.SUCCEEDED
    if plan.step in {Step.FAIL, Step.REFUSE} or job.status.phase is Phase.FAILED:
        return Reason.FAILED
    return Reason.OUT_OF_SYNC if plan.reason == Reason.OUT_OF_SYNC else ""
