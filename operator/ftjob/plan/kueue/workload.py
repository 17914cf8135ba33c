"""Kueue's Workload of a job: its name, what it asks for, and whether it still fits the job. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import roles_of
from ftjob.models.manifest import items, mapping
from ftjob.models.names import KUEUE_CLASS, KUEUE_VERSIONS, LABEL_ROLE, WORKLOAD
from ftjob.models.resources import shown
from ftjob.plan.build.objects import child_meta
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.plan.observed.kueue_admission import read_pod_set
from ftjob.plan.observed.state import Lookup
from ftjob.plan.plan import ObjectRef

if TYPE_CHECKING:
    from ftjob.api.job import Job, JobHead
    from ftjob.models.manifest import Manifest
    from ftjob.plan.observed.kueue_admission import PodSet, WorkloadState
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Config

CLASS, WORKLOAD_CLASS = "PriorityClass", "WorkloadPriorityClass"
SCHEDULING, PRIORITY_CLASSES = "scheduling.k8s.io", "scheduling.k8s.io/v1"


def waits_for_kueue(job: JobHead) -> bool:
    """Whether the job runs only where and when Kueue lets it in."""
    return job.queue is not None or job.prebuilt_workload is not None


def workload_name(job: JobHead) -> str:
    """Return the Workload's name; the UID in that of our own keeps an earlier job's out of the way."""
    return job.prebuilt_workload or f"{job.name}-{job.uid[:8]}"


def version_of(served: frozenset[tuple[str, str]]) -> str | None:
    """Return the API version in which Workloads are served, if they are."""
    return next((version for version in KUEUE_VERSIONS if (version, WORKLOAD) in served), None)


def workload_of(job: JobHead, observed: Observed) -> WorkloadState | None:
    """Return the job's Workload."""
    name = workload_name(job)
    return next((w for w in observed.workloads if w.name == name and not w.deleting), None)


def workload_refs(workloads: tuple[WorkloadState, ...]) -> tuple[ObjectRef, ...]:
    """Return what to delete, of Workloads that may be going already."""
    return tuple(ObjectRef(w.api_version, WORKLOAD, w.name, w.uid) for w in workloads if not w.deleting)


def build_workload(job: Job, observed: Observed, config: Config) -> Manifest:
    """Return the Workload: for each role how many pods, and what one asks for."""
    version = version_of(observed.served)
    spec: dict[str, Any] = {"queueName": job.queue, "podSets": pod_sets(job, config)}
    for lookup in priority(job, observed):
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


def priority(job: Job, observed: Observed) -> tuple[Lookup, ...]:
    """Return the class that says how soon the job is let in: Kueue's own, or else that of its pods."""
    own = job.labels.get(KUEUE_CLASS)
    if own:
        return (Lookup(version_of(observed.served) or "", WORKLOAD_CLASS, own),)
    name = job.spec.scheduling.priority_class_name or mapping(job.spec.template, "spec").get(
        "priorityClassName"
    )
    return (Lookup(PRIORITY_CLASSES, CLASS, str(name)),) if name else ()


def pod_sets(job: Job, config: Config) -> list[dict[str, Any]]:
    """Return one pod set a role."""
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
    return sets


def difference(job: Job, workload: WorkloadState, config: Config) -> str:
    """Return how the pods that a Workload asks for differ from the job's; nothing if they do not.

    By name, number and requests, as far as quota depends on them. Not by image or command, as Kueue does for
    jobs of its own (``ComparePodSets``, pkg/util/equality/podset.go, v0.19.2): the operators of two clusters
    may put different agents beside the same trainer, and ``minCount`` goes where Kueue's feature gate
    ``PartialAdmission`` is off. An elastic job that is admitted has as many workers as were let in.
    """
    found = {each.name: each for each in workload.pod_sets}
    wanted = {each.name: each for each in map(read_pod_set, pod_sets(job, config))}
    if job.spec.elastic is not None and workload.condition("QuotaReserved"):
        wanted = {name: replace(w, count=found.get(name, w).count) for name, w in wanted.items()}
    differing = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if not differing:
        return ""
    name = differing[0]
    return f"of {name} it has {_in_words(found.get(name))}, and the job {_in_words(wanted.get(name))}"


def _in_words(pod_set: PodSet | None) -> str:
    if pod_set is None:
        return "none"
    asks = ", ".join(f"{name} {shown(amount)}" for name, amount in pod_set.requests)
    return f"{pod_set.count} x ({asks or 'no requests'})"


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
