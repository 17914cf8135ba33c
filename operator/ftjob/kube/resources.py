"""The kinds of objects that the operator works with, and where the API server keeps them.

Objects are raw dicts. Typed models of clients validate answers, and so fail on what they don't know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.models import names

if TYPE_CHECKING:
    from ftjob.models.manifest import Manifest


@dataclass(frozen=True)
class Resource:
    """A kind and where the API server keeps it."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of an object, or of all objects."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


JOB = Resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
POD = Resource("", "v1", "Pod", "pods")
SERVICE = Resource("", "v1", "Service", "services")
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")
SECRET = Resource("", "v1", "Secret", "secrets")
CLAIM = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENT = Resource("events.k8s.io", "v1", "Event", "events")


def _versions(api_versions: tuple[str, ...], kind: str, plural: str) -> tuple[Resource, ...]:
    places = (api_version.split("/") for api_version in api_versions)
    return tuple(Resource(group, version, kind, plural) for group, version in places)


POD_GROUPS = tuple(
    _versions(versions, names.POD_GROUP, "podgroups")
    for versions in (names.NATIVE_GANGS, names.VOLCANO_GANGS, names.COSCHEDULING_GANGS)
)

WORKLOADS = _versions(names.KUEUE_VERSIONS, names.WORKLOAD, "workloads")

OPTIONAL = (*POD_GROUPS, WORKLOADS)
"""Kinds that not every API server serves, each in its versions, best first."""

NETWORK_POLICIES = (NETWORK_POLICY,)
"""Every API server serves them; an operator asks only where it is told to make them, and may do so there."""

CLUSTER_WIDE = (
    *_versions(names.KUEUE_VERSIONS, "ResourceFlavor", "resourceflavors"),
    *_versions(names.KUEUE_VERSIONS, "WorkloadPriorityClass", "workloadpriorityclasses"),
    Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"),
)
"""Kinds without a namespace, which are only read."""

RESOURCES = {
    (r.api_version, r.kind): r
    for r in (
        JOB,
        POD,
        SERVICE,
        CONFIG_MAP,
        SECRET,
        CLAIM,
        NETWORK_POLICY,
        LEASE,
        EVENT,
        *CLUSTER_WIDE,
        *(r for family in OPTIONAL for r in family),
    )
}


def in_use(served: frozenset[tuple[str, str]]) -> tuple[Resource, ...]:
    """Return the kinds of these families that are served, each in its best version."""
    families = (*OPTIONAL, NETWORK_POLICIES)
    found = ([r for r in family if (r.api_version, r.kind) in served] for family in families)
    return tuple(versions[0] for versions in found if versions)


def resource_of(manifest: Manifest) -> Resource:
    """Return the resource of a manifest; a kind that is not in the table is a mistake of ours."""
    return RESOURCES[manifest["apiVersion"], manifest["kind"]]
