"""Looks at a cluster with its user's own rights. What may not be read is said, and is no error."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ftjob.api.crd import build_crd
from ftjob.cli.look.checks import Accelerator, ClusterSeen, OperatorPod, Right, StorageClass
from ftjob.client.errors import ClusterError, JobInvalid, NotServed
from ftjob.models.manifest import conditions_of, containers_of, items, mapping
from ftjob.models.names import (
    COSCHEDULING_GANGS,
    GROUP,
    KUEUE_VERSIONS,
    NATIVE_GANGS,
    PLURAL,
    VERSION,
    VOLCANO_GANGS,
)
from ftjob.models.resources import MILLI, milli

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.client.cluster import Body, Cluster

ACCELERATORS = ("nvidia.com/", "amd.com/gpu", "google.com/tpu", "gpu.intel.com/")
MODELS = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-tpu-accelerator",
    "cloud.google.com/gke-accelerator",
)
"""Labels of nodes that say which type theirs are."""
OPERATOR = "app.kubernetes.io/component=operator,app.kubernetes.io/name=ftjob"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
GANGS = {
    "Native": NATIVE_GANGS,
    "Volcano": VOLCANO_GANGS,
    "Coscheduling": COSCHEDULING_GANGS,
}
_JOBS = (GROUP, PLURAL, "")
RIGHTS: tuple[tuple[str, tuple[str, str, str], str, str, bool], ...] = (
    ("create", _JOBS, "create jobs", "`submit`", True),
    ("get", _JOBS, "read jobs", "all verbs", True),
    ("list", _JOBS, "list jobs", "`list`, and verbs without a name", True),
    ("watch", _JOBS, "watch jobs", "`submit`, `wait`", True),
    ("patch", _JOBS, "change jobs", "`stop`, `resume`, `profile`", True),
    ("delete", _JOBS, "delete jobs", "`delete`", True),
    ("list", ("", "pods", ""), "list pods", "`status`", False),
    ("list", ("", "events", ""), "list events", "`status`", False),
    ("create", ("", "pods", ""), "create pods", "`report`", False),
    ("create", ("", "pods", "exec"), "exec into pods", "`report`", False),
)
"""Verb, resource, what it is, which verbs of ftjob need it, and whether jobs can't be run without it."""


def survey(cluster: Cluster) -> ClusterSeen:
    """Return what its user may see of a cluster.

    Raises
    ------
    ClusterError
        It can't be asked at all.
    """
    return _Survey(cluster).seen()


class _Survey:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._unread = cluster, list[str]()

    def seen(self) -> ClusterSeen:
        cluster = self._cluster
        version = str(cluster.get("/version").get("gitVersion"))
        is_served = bool(self._served(f"{GROUP}/{VERSION}"))
        kueue = next((version for version in KUEUE_VERSIONS if self._served(version)), "")
        queues = None
        if kueue:
            path = f"/apis/{kueue}/namespaces/{cluster.namespace}/localqueues"
            listed = self._list("queues", path)
            queues = tuple(map(_name, listed)) if listed is not None else None
        pods = self._list("the operator", "/api/v1/pods", labelSelector=OPERATOR)
        return ClusterSeen(
            server=cluster.server,
            namespace=cluster.namespace,
            version=version,
            is_served=is_served,
            missing_fields=self._missing_fields() if is_served else None,
            operator=tuple(map(_operator, pods)) if pods is not None else None,
            rights=tuple(self._right(*row) for row in RIGHTS),
            classes=self._classes(),
            gangs=tuple(
                name
                for name, versions in GANGS.items()
                if any("podgroups" in self._served(v) for v in versions)
            ),
            kueue=kueue,
            queues=queues,
            accelerators=self._accelerators(),
            unread=tuple(self._unread),
        )

    def _list(self, what: str, path: str, **query: str) -> list[Body] | None:
        try:
            return self._cluster.items(path, pages=0, **query)
        except (ClusterError, JobInvalid) as error:
            self._unread.append(f"{what}: {error}")
            return None

    def _served(self, version: str) -> frozenset[str]:
        """Return the plurals that a version of an API serves."""
        try:
            found = self._cluster.get(f"/apis/{version}")
        except NotServed:
            return frozenset()
        return frozenset(str(each.get("name")) for each in items(found, "resources"))

    def _missing_fields(self) -> tuple[str, ...] | None:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
        try:
            theirs = self._cluster.get(path)
        except ClusterError as error:
            self._unread.append(f"the CRD: {error}")
            return None
        return tuple(sorted(_fields(build_crd()) - _fields(theirs)))

    def _right(
        self, verb: str, resource: tuple[str, str, str], what: str, for_what: str, is_needed: bool
    ) -> Right:
        group, plural, subresource = resource
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
        body: Body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "namespace": self._cluster.namespace}},
        }
        answer = self._cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        return Right(what, for_what, is_needed, bool(mapping(answer, "status").get("allowed")))

    def _classes(self) -> tuple[StorageClass, ...] | None:
        found = self._list("storage classes", "/apis/storage.k8s.io/v1/storageclasses")
        if not found:
            return None if found is None else ()
        volumes = self._list("volumes", "/api/v1/persistentvolumes") or []

        def read(raw: Body) -> StorageClass:
            name = _name(raw)
            specs = (mapping(volume, "spec") for volume in volumes)
            modes = {
                str(m) for s in specs if s.get("storageClassName") == name for m in s.get("accessModes") or ()
            }
            is_default = mapping(raw, "metadata", "annotations").get(DEFAULT) == "true"
            return StorageClass(name, str(raw.get("provisioner")), is_default, tuple(sorted(modes)))

        return tuple(map(read, found))

    def _accelerators(self) -> tuple[Accelerator, ...] | None:
        nodes = self._list("nodes", "/api/v1/nodes")
        if nodes is None:
            return None
        offered = {_name(node): _offered(node) for node in nodes}
        if not any(offered.values()):
            return ()
        running = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!="
        pods = self._list("pods of all namespaces", "/api/v1/pods", fieldSelector=running)
        used = _used(pods or ())
        total, free, count = (
            Counter[tuple[str, str]](),
            Counter[tuple[str, str]](),
            Counter[tuple[str, str]](),
        )
        for node in nodes:
            for resource, amount in offered[_name(node)].items():
                key = resource, _model(node)
                count[key] += 1
                total[key] += amount
                free[key] += max(0, amount - used[_name(node), resource])
        return tuple(
            Accelerator(*key, count[key], total[key], None if pods is None else free[key])
            for key in sorted(total)
        )


def _offered(node: Body) -> dict[str, int]:
    """Return how many of each accelerator a node has for pods."""
    if mapping(node, "spec").get("unschedulable"):
        return {}
    found = mapping(node, "status", "allocatable")
    amounts = {name: _whole(text) for name, text in found.items() if name.startswith(ACCELERATORS)}
    return {name: amount for name, amount in amounts.items() if amount}


def _used(pods: Iterable[Body]) -> Counter[tuple[str, str]]:
    """Return how many are taken, by node and resource."""
    used = Counter[tuple[str, str]]()
    for pod in pods:
        node = str(mapping(pod, "spec").get("nodeName"))
        for container in containers_of(pod):
            for name, amount in mapping(container, "resources", "limits").items():
                if name.startswith(ACCELERATORS):
                    used[node, name] += _whole(amount)
    return used


def _model(node: Body) -> str:
    labels = mapping(node, "metadata", "labels")
    return str(next((labels[name] for name in MODELS if labels.get(name)), ""))


def _whole(quantity: Any) -> int:
    return (milli(quantity) or 0) // MILLI


def _fields(crd: Body) -> set[str]:
    versions = [each for each in items(mapping(crd, "spec"), "versions") if each.get("name") == VERSION]
    schema = mapping(versions[0], "schema", "openAPIV3Schema", "properties", "spec") if versions else {}
    return set(mapping(schema, "properties"))


def _operator(raw: Body) -> OperatorPod:
    ready = conditions_of(raw.get("status")).get("Ready", {}).get("status") == "True"
    version = str(mapping(raw, "metadata", "labels").get("app.kubernetes.io/version") or "unknown")
    return OperatorPod(_name(raw), version, ready)


def _name(raw: Body) -> str:
    return str(mapping(raw, "metadata").get("name"))
