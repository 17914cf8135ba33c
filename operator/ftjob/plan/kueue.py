"""Kueue: a job with its label waits in a queue, runs where it is let in, and stops when it is told to. Pure.

We do what Kueue's own integrations do (kueue.sigs.k8s.io/docs/tasks/dev/integrate_a_custom_job): one Workload
a job, which says what the pods will ask for. Kueue admits and evicts by the Workload's status; once an
evicted job has no pod left, it is for us to give the admission back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import items, mapping, roles_of
from ftjob.api.names import KUEUE_LABEL, KUEUE_VERSIONS, LABEL_ROLE, WORKLOAD
from ftjob.api.problem import Problem
from ftjob.api.status import Phase
from ftjob.plan.decision import Lookup, ObjectRef, Plan, StatusPatch, Step
from ftjob.plan.ending import refs
from ftjob.plan.gang import gang_problem, gang_size
from ftjob.plan.layout import cluster_layout
from ftjob.plan.objects import build_pod, child_meta
from ftjob.plan.times import rfc3339

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.decision import Config, Manifest
    from ftjob.plan.observed import Observed, PodState, WorkloadState

FLAVOR, CLASS, WORKLOAD_CLASS = "ResourceFlavor", "PriorityClass", "WorkloadPriorityClass"
CLASS_LABEL = "kueue.x-k8s.io/priority-class"
"""Names a WorkloadPriorityClass: when the job is let in, whatever priority its pods have."""
PODSET_LABEL, WORKLOAD_ANNOTATION = "kueue.x-k8s.io/podset", "kueue.x-k8s.io/workload"
TOPOLOGY_GATE = "kueue.x-k8s.io/topology"
SCHEDULING, PRIORITY_CLASSES = "scheduling.k8s.io", "scheduling.k8s.io/v1"
REQUEUED_AT_ONCE = frozenset({"Preempted", "NodeFailures"})
"""Reasons of eviction after which Kueue wants the job back in its queue at once."""
ANSWER_SECONDS = 60.0
"""How long an answer holds: then it is read again."""

MESSAGE_MAX = 1024
QUEUED, EVICTED, UNREADABLE = "Queued", "Evicted", "KueueUnreadable"


def queue_of(job: Job) -> str | None:
    """Return the LocalQueue that a job is labelled with."""
    return job.labels.get(KUEUE_LABEL) or None


def impossible(job: Job, observed: Observed) -> tuple[Problem, ...]:
    """Return what a good job asks for that this cluster can't do."""
    if job.spec is None:
        return ()
    found = (gang_problem(job.spec, observed.served), _queue_problem(job, observed.served))
    return tuple(problem for problem in found if problem is not None)


def _queue_problem(job: Job, served: frozenset[tuple[str, str]]) -> Problem | None:
    """Return what keeps a job with Kueue's label from being queued."""
    if queue_of(job) is None or _version(served) is not None:
        return None
    return Problem(
        f"metadata.labels[{KUEUE_LABEL}]",
        "this cluster does not serve Kueue's Workload",
        "install Kueue, or remove it",
    )


def as_admitted(job: Job, observed: Observed) -> Job:
    """Return the job with as many workers as Kueue has let in, if it is elastic and that is fewer."""
    workload = _mine(job, observed)
    if job.spec is None or job.spec.elastic is None or job.spec.workers is None or workload is None:
        return job
    counts = [a.get("count") for a in _assignments(workload) if a.get("name") == "worker"]
    if queue_of(job) is None or not counts or not isinstance(counts[0], int):
        return job
    workers = min(job.spec.workers, max(counts[0], job.spec.elastic.min_workers))
    return replace(job, spec=job.spec.model_copy(update={"workers": workers}))


def wait_in_queue(job: Job, observed: Observed, *, config: Config) -> Plan | None:
    """Decide what a job does that Kueue has not let in; None when it may run."""
    if queue_of(job) is None:
        return None
    workload = _mine(job, observed)
    reason, message = _words(job, workload)
    waits = Plan(Step.QUEUE, delete=refs(observed.pods), reason=reason, message=message)
    if workload is not None and workload.is_admitted:
        # Between attempts it waits for other things; its new pods wait for what has to be read.
        fresh = job.status.start_time is None or job.status.phase is Phase.QUEUED
        return _read_first(waits, _flavors(workload), observed) if fresh else None
    if workload is not None or _alive(observed):
        return waits
    create = (build_workload(job, observed, config),) if _is_known(_priority(job, observed), observed) else ()
    return _read_first(waits, _priority(job, observed), observed) or replace(waits, create=create)


def _read_first(waits: Plan, needed: tuple[Lookup, ...], observed: Observed) -> Plan | None:
    """Wait until what a decision needs has been read; None if it has."""
    missing = _unknown(needed, observed)
    if missing:
        return replace(waits, look_up=missing, next_look=0.0)
    failed = "; ".join(
        observed.looked_up[lookup].error for lookup in needed if observed.looked_up[lookup].error
    )
    if failed:
        return replace(waits, reason=UNREADABLE, message=failed, next_look=ANSWER_SECONDS)
    return None


def with_workload(decision: Plan, job: Job, observed: Observed, *, now: float) -> Plan:
    """Add to a decision what it means for the Workload: reports, and where the pods may run."""
    mine = _mine(job, observed)
    others = tuple(w for w in observed.workloads if w is not mine)
    if mine is None or queue_of(job) is None or _is_useless(decision, mine, job, observed):
        return replace(decision, remove=(*decision.remove, *_refs(observed.workloads)))
    decision = replace(
        decision,
        remove=(*decision.remove, *_refs(others)),
        report=_report(decision, mine, job, observed, now),
    )
    if not any(manifest["kind"] == "Pod" for manifest in decision.create):
        return decision
    flavors = _flavors(mine)
    if not _is_known(flavors, observed):
        create = tuple(m for m in decision.create if m["kind"] != "Pod")
        missing = _unknown(flavors, observed)
        look = 0.0 if missing else ANSWER_SECONDS
        return replace(decision, create=create, look_up=missing, next_look=look)
    for manifest in decision.create:
        if manifest["kind"] == "Pod":
            _place(manifest, mine, observed)
    return decision


def build_workload(job: Job, observed: Observed, config: Config) -> Manifest:
    """Return the Workload: for each role how many pods, and what one asks for."""
    assert job.spec is not None
    version = _version(observed.served)
    layout = cluster_layout(job, job.status.pod_attempt)
    sets = []
    for role, count in roles_of(job.spec).items():
        first = next(worker for worker in layout.workers if worker.role == role)
        found: dict[str, Any] = {
            "name": role,
            "count": count,
            "template": _asked(build_pod(job, layout, first, config)),
        }
        if job.spec.elastic is not None and job.spec.elastic.min_workers < count:
            found["minCount"] = job.spec.elastic.min_workers
        sets.append(found)
    spec: dict[str, Any] = {"queueName": queue_of(job), "podSets": sets}
    for lookup in _priority(job, observed):
        found_class = observed.looked_up[lookup].body or {}
        group = SCHEDULING if lookup.kind == CLASS else "kueue.x-k8s.io"
        spec["priority"] = int(found_class.get("value", 0))
        if version == KUEUE_VERSIONS[0]:
            spec["priorityClassRef"] = {"group": group, "kind": lookup.kind, "name": lookup.name}
        else:
            spec["priorityClassName"] = lookup.name
            spec["priorityClassSource"] = f"{group}/{lookup.kind.lower()}"
    return {
        "apiVersion": version,
        "kind": WORKLOAD,
        "metadata": child_meta(job, workload_name(job)),
        "spec": spec,
    }


def workload_name(job: Job) -> str:
    """Return the Workload's name; the UID in it keeps an earlier job's out of the way."""
    return f"{job.name}-{job.uid[:8]}"


def _asked(pod: Manifest) -> dict[str, Any]:
    """Return of a pod what admission depends on."""
    spec = {key: value for key, value in pod["spec"].items() if key in _PLACEMENT}
    for kind in ("initContainers", "containers"):
        found = [{k: c[k] for k in _CONTAINER if k in c} for c in items(pod["spec"], kind)]
        if found:
            spec[kind] = found
    labels = {k: v for k, v in pod["metadata"]["labels"].items() if k != LABEL_ROLE}
    return {"metadata": {"labels": labels}, "spec": spec}


_CONTAINER = ("name", "image", "resources", "restartPolicy")
_PLACEMENT = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "priorityClassName",
    "runtimeClassName",
    "overhead",
    "resources",
    "resourceClaims",
    "schedulerName",
    "restartPolicy",
)


def _version(served: frozenset[tuple[str, str]]) -> str | None:
    return next((version for version in KUEUE_VERSIONS if (version, WORKLOAD) in served), None)


def _mine(job: Job, observed: Observed) -> WorkloadState | None:
    name = workload_name(job)
    return next((w for w in observed.workloads if w.name == name and not w.deleting), None)


def _alive(observed: Observed) -> tuple[PodState, ...]:
    return tuple(pod for pod in observed.pods if not pod.is_over)


def _is_useless(decision: Plan, workload: WorkloadState, job: Job, observed: Observed) -> bool:
    """Whether nobody needs the Workload any more: it frees what it holds when it goes."""
    if decision.step is Step.REFUSE:
        return True
    if decision.step is Step.SUSPEND:
        return not _alive(observed)
    return workload.queue != queue_of(job) and not workload.condition("QuotaReserved")


def _refs(workloads: tuple[WorkloadState, ...]) -> tuple[ObjectRef, ...]:
    return tuple(ObjectRef(w.api_version, WORKLOAD, w.name, w.uid) for w in workloads if not w.deleting)


def _words(job: Job, workload: WorkloadState | None) -> tuple[str, str]:
    """Return why the job waits, in Kueue's own words where it has said any."""
    waits = f"waits in Kueue's queue {queue_of(job)}"
    if workload is None:
        return QUEUED, waits
    evicted = workload.conditions.get("Evicted", {})
    if not workload.active:
        return "Deactivated", f"Kueue's Workload {workload.name} is not active: set its spec.active to true"
    if evicted.get("status") == "True":
        return EVICTED, f"Kueue has evicted the job ({evicted.get('reason')}): {evicted.get('message', '')}"
    reserved = workload.conditions.get("QuotaReserved", {})
    if reserved.get("status") == "True":
        admitted = workload.conditions.get("Admitted", {})
        return (
            QUEUED,
            f"{waits}: quota is reserved; {admitted.get('message') or 'its admission checks go on'}",
        )
    said = reserved.get("message")
    return QUEUED, f"{waits}: {said}" if said else waits


def _assignments(workload: WorkloadState) -> list[dict[str, Any]]:
    return items(mapping(workload.status, "admission"), "podSetAssignments")


def _flavors(workload: WorkloadState) -> tuple[Lookup, ...]:
    names = {name for a in _assignments(workload) for name in mapping(a, "flavors").values()}
    return tuple(Lookup(workload.api_version, FLAVOR, name) for name in sorted(names))


def _priority(job: Job, observed: Observed) -> tuple[Lookup, ...]:
    """Return the class that says how soon the job is let in: Kueue's own, or else that of its pods."""
    assert job.spec is not None
    own = job.labels.get(CLASS_LABEL)
    if own:
        return (Lookup(_version(observed.served) or "", WORKLOAD_CLASS, own),)
    name = job.spec.scheduling.priority_class_name or mapping(job.spec.template, "spec").get(
        "priorityClassName"
    )
    return (Lookup(PRIORITY_CLASSES, CLASS, str(name)),) if name else ()


def _unknown(needed: tuple[Lookup, ...], observed: Observed) -> tuple[Lookup, ...]:
    return tuple(lookup for lookup in needed if lookup not in observed.looked_up)


def _is_known(needed: tuple[Lookup, ...], observed: Observed) -> bool:
    return all(lookup in observed.looked_up and not observed.looked_up[lookup].error for lookup in needed)


def _place(pod: Manifest, workload: WorkloadState, observed: Observed) -> None:
    """Put onto a new pod what the admission says: the flavours' nodes, and what admission checks add."""
    role = pod["metadata"]["labels"][LABEL_ROLE]
    meta, spec = pod["metadata"], pod["spec"]
    selector, tolerations = {**(spec.get("nodeSelector") or {})}, spec.setdefault("tolerations", [])
    meta["labels"][PODSET_LABEL] = role
    meta["annotations"][WORKLOAD_ANNOTATION] = workload.name
    updates: list[dict[str, Any]] = []
    for assignment in _assignments(workload):
        if assignment.get("name") != role:
            continue
        for name in dict.fromkeys(mapping(assignment, "flavors").values()):
            flavor = mapping(observed.looked_up[Lookup(workload.api_version, FLAVOR, name)].body, "spec")
            updates.append(
                {"nodeSelector": flavor.get("nodeLabels"), "tolerations": flavor.get("tolerations")}
            )
        if "topologyAssignment" in assignment:
            spec.setdefault("schedulingGates", []).append({"name": TOPOLOGY_GATE})
    for check in items(workload.status, "admissionChecks"):
        updates += [update for update in items(check, "podSetUpdates") if update.get("name") == role]
    for update in updates:
        selector |= mapping(update, "nodeSelector")
        tolerations += [t for t in items(update, "tolerations") if t not in tolerations]
        meta["labels"] = {**mapping(update, "labels"), **meta["labels"]}
        meta["annotations"] = {**mapping(update, "annotations"), **meta["annotations"]}
    if selector:
        spec["nodeSelector"] = selector


def _report(
    decision: Plan, workload: WorkloadState, job: Job, observed: Observed, now: float
) -> StatusPatch | None:
    """Return what the Workload's status has to say, if it does not yet: one thing at a time."""
    final = job.status.phase in {Phase.SUCCEEDED, Phase.FAILED} or decision.step in {Step.SUCCEED, Step.FAIL}
    if final:
        if workload.condition("Finished"):
            return None
        succeeded = decision.step is Step.SUCCEED or job.status.phase is Phase.SUCCEEDED
        reason = "Succeeded" if succeeded else "Failed"
        return _patch(workload, now, [("Finished", "True", reason, decision.message or "the job has ended")])
    if workload.condition("Evicted") and workload.condition("QuotaReserved"):
        if _alive(observed):
            return None
        evicted = workload.conditions["Evicted"]
        why, said = str(evicted.get("reason")), str(evicted.get("message", ""))
        again = "True" if why in REQUEUED_AT_ONCE else "False"
        changes = [
            ("QuotaReserved", "False", "Pending", said),
            ("Admitted", "False", "NoReservation", "The workload has no reservation"),
            ("Requeued", again, why, said),
        ]
        if workload.condition("PodsReady"):
            changes.append(("PodsReady", "False", "WaitForStart", "not all pods run"))
        return _patch(workload, now, changes, admission=None)
    pods = [p for p in observed.pods if p.attempt == job.status.pod_attempt]
    assert job.spec is not None
    ready = sum(p.succeeded or (p.running and not p.is_over) for p in pods) >= gang_size(job.spec)
    if ready == workload.condition("PodsReady") or not workload.is_admitted:
        return None
    reason, message = ("Started", "all pods run") if ready else ("WaitForRecovery", "not all pods run")
    return _patch(workload, now, [("PodsReady", str(ready), reason, message)])


def _patch(
    workload: WorkloadState, now: float, changes: list[tuple[str, str, str, str]], **more: Any
) -> StatusPatch:
    """Return a patch of some conditions.

    It replaces the list as a whole; the resourceVersion sees to it that nothing of others is lost.
    """
    conditions = dict(workload.conditions)
    for kind, value, reason, message in changes:
        old = conditions.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        conditions[kind] = {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message[:MESSAGE_MAX],
            "lastTransitionTime": since or rfc3339(now),
        }
    status = {"conditions": list(conditions.values()), **more}
    return StatusPatch(workload.api_version, WORKLOAD, workload.name, workload.resource_version, status)
