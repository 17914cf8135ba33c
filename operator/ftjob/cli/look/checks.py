"""Whether a cluster is fit for jobs, from what was seen of it. Pure: each check is a function, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ftjob import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLDEST = (1, 32)
"""The oldest Kubernetes that is supported."""
ONE_NODE = (
    *(
        "rancher.io/local-path",
        "kubernetes.io/no-provisioner",
        "docker.io/hostpath",
        "k8s.io/minikube-hostpath",
    ),
    *("ebs.csi.aws.com", "kubernetes.io/aws-ebs", "pd.csi.storage.gke.io", "kubernetes.io/gce-pd"),
    *("disk.csi.azure.com", "kubernetes.io/azure-disk", "cinder.csi.openstack.org", "topolvm.io"),
)
"""Provisioners whose volumes one node alone can mount."""
MANY = "ReadWriteMany"


class Level(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Right:
    """Something that the user may do, or not."""

    what: str
    for_what: str
    """Which verbs need it."""
    is_needed: bool
    """Whether without it no job can be run."""
    is_given: bool


@dataclass(frozen=True)
class OperatorPod:
    """A pod of the operator."""

    name: str
    version: str
    is_ready: bool


@dataclass(frozen=True)
class StorageClass:
    """A storage class, and the access modes of volumes that it has made."""

    name: str
    provisioner: str
    is_default: bool
    modes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accelerator:
    """GPUs or TPU chips of one type, in all nodes together."""

    resource: str
    model: str
    nodes: int
    allocatable: int
    free: int | None
    """None: the pods that use them may not be read."""


@dataclass(frozen=True)
class ClusterSeen:
    """A cluster, as its user may see it. None: it may not be read."""

    server: str
    namespace: str
    version: str
    is_served: bool
    """Whether it knows the kind of a job."""
    missing_fields: tuple[str, ...] | None = None
    """What this version's spec has and the cluster's has not."""
    operator: tuple[OperatorPod, ...] | None = None
    rights: tuple[Right, ...] = ()
    classes: tuple[StorageClass, ...] | None = None
    gangs: tuple[str, ...] = ()
    kueue: str = ""
    queues: tuple[str, ...] | None = None
    accelerators: tuple[Accelerator, ...] | None = None
    unread: tuple[str, ...] = field(default=())


def judge(seen: ClusterSeen) -> list[Check]:
    """Return all that was looked at, with a remedy where it is not as it should be."""
    return [check for find in CHECKS for check in find(seen)]


def _server(seen: ClusterSeen) -> Iterator[Check]:
    numbers = seen.version.removeprefix("v").split(".")
    try:
        is_old = tuple(int(number) for number in numbers[:2]) < OLDEST
    except ValueError:
        is_old = False
    text = f"Kubernetes {seen.version} at {seen.server}"
    if is_old:
        remedy = f"Upgrade it: ftjob needs Kubernetes {OLDEST[0]}.{OLDEST[1]} or newer."
        yield Check(Level.PROBLEM, "server", text, remedy)
    else:
        yield Check(Level.OK, "server", text)


def _crd(seen: ClusterSeen) -> Iterator[Check]:
    if not seen.is_served:
        yield Check(
            Level.PROBLEM,
            "CRD",
            "the cluster does not know FrameworkTrainingJobs",
            "Install the chart (docs/install.md), or name another cluster by --context.",
        )
    elif seen.missing_fields:
        names = ", ".join(seen.missing_fields)
        yield Check(
            Level.WARNING,
            "CRD",
            f"it is older than this ftjob {__version__}: it lacks spec.{names}",
            "Have the chart upgraded, or use the ftjob of its version.",
        )
    else:
        yield Check(Level.OK, "CRD", "the cluster knows FrameworkTrainingJobs")


def _operator(seen: ClusterSeen) -> Iterator[Check]:
    if seen.operator is None:
        yield Check(
            Level.WARNING, "operator", "its pods may not be read", "`ftjob doctor --run` shows if it works."
        )
        return
    ready = [pod for pod in seen.operator if pod.is_ready]
    if not ready:
        text = f"pod {seen.operator[0].name} is not ready" if seen.operator else "no pod of it was found"
        see = "kubectl get pods -A -l app.kubernetes.io/component=operator,app.kubernetes.io/name=ftjob"
        yield Check(Level.PROBLEM, "operator", text, f"See why: {see}")
        return
    versions = sorted({pod.version for pod in ready})
    text = f"version {', '.join(versions)}, {len(ready)} of {len(seen.operator)} pods ready"
    if versions != [__version__]:
        remedy = "Use the ftjob of the operator's version, or have the chart upgraded."
        yield Check(Level.WARNING, "operator", f"{text}; this ftjob is {__version__}", remedy)
    else:
        yield Check(Level.OK, "operator", text)


def _rights(seen: ClusterSeen) -> Iterator[Check]:
    refused = [right for right in seen.rights if not right.is_given]
    needed = [right for right in refused if right.is_needed]
    where = f"in namespace {seen.namespace}"
    for right in refused:
        level = Level.PROBLEM if right in needed else Level.WARNING
        remedy = "Ask whoever runs the cluster for the role `edit` there, or name another namespace by -n."
        if not right.is_needed:
            remedy = "Ask whoever runs the cluster for it, if you need that."
        yield Check(level, "rights", f"you may not {right.what} {where}: {right.for_what}", remedy)
    if seen.rights and not needed:
        yield Check(Level.OK, "rights", f"you may run jobs {where}")


def _storage(seen: ClusterSeen) -> Iterator[Check]:
    if seen.classes is None:
        yield Check(
            Level.WARNING, "storage", "storage classes may not be read", "Ask which one `outputs` may use."
        )
        return
    default = next((each for each in seen.classes if each.is_default), None)
    others = ", ".join(each.name for each in seen.classes if not each.is_default)
    name = "Name one that several nodes can mount, in a job or in the chart: outputs.storageClassName"
    if default is None:
        remedy = f"{name}." + (f" There are {others}." if others else "")
        yield Check(Level.WARNING, "storage", "there is no default storage class for `outputs`", remedy)
        return
    text = f"default class {default.name} ({default.provisioner})"
    modes = f", has made volumes that are {', '.join(default.modes)}" if default.modes else ""
    if MANY not in default.modes and default.provisioner in ONE_NODE:
        remedy = f"{name}; or set outputs.accessMode: ReadWriteOnce, and all workers run on one node."
        yield Check(Level.WARNING, "storage", f"{text}{modes}: one node alone can mount its volumes", remedy)
    else:
        yield Check(Level.OK, "storage", f"{text}{modes}")


def _gangs(seen: ClusterSeen) -> Iterator[Check]:
    if seen.gangs:
        yield Check(Level.OK, "gangs", f"{', '.join(seen.gangs)} can place a job's pods all together")
    else:
        yield Check(
            Level.WARNING,
            "gangs",
            "nobody places a job's pods all together, so two jobs may hold half of their pods each",
            "Use Kueue, or have a gang scheduler installed (docs/scheduling.md).",
        )


def _kueue(seen: ClusterSeen) -> Iterator[Check]:
    if not seen.kueue:
        yield Check(Level.OK, "Kueue", "is not installed; jobs start as soon as there is room")
    elif seen.queues:
        yield Check(Level.OK, "Kueue", f"{seen.kueue}; queues of {seen.namespace}: {', '.join(seen.queues)}")
    elif seen.queues is None:
        yield Check(
            Level.WARNING, "Kueue", f"{seen.kueue}; its queues may not be read", "Ask for a queue's name."
        )
    else:
        yield Check(
            Level.WARNING,
            "Kueue",
            f"{seen.kueue}; namespace {seen.namespace} has no queue",
            "Ask whoever runs the cluster for a LocalQueue, if jobs have to wait in one.",
        )


def _accelerators(seen: ClusterSeen) -> Iterator[Check]:
    if seen.accelerators is None:
        yield Check(Level.WARNING, "GPUs", "nodes may not be read", "Ask which GPUs or TPUs there are.")
        return
    if not seen.accelerators:
        remedy = "If nodes have some, see that their device plugin runs."
        yield Check(Level.WARNING, "GPUs", "no node offers GPUs or TPUs", remedy)
    for each in seen.accelerators:
        model = f" ({each.model})" if each.model else ""
        free = "" if each.free is None else f", {each.free} free"
        nodes = f"{each.nodes} node{'s' if each.nodes > 1 else ''}"
        yield Check(Level.OK, "GPUs", f"{each.resource}{model}: {each.allocatable} on {nodes}{free}")


CHECKS: tuple[Callable[[ClusterSeen], Iterator[Check]], ...] = (
    _server,
    _crd,
    _operator,
    _rights,
    _storage,
    _gangs,
    _kueue,
    _accelerators,
)
