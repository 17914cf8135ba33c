"""The port to the API server: which kinds there are, and what can be done with them.

Objects are raw dicts. Typed models of clients validate answers, and so fail on what they don't know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ftjob.models import names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Manifest = dict[str, Any]


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
SECRET = Resource("", "v1", "Secret", "secrets")
CLAIM = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
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
        SECRET,
        CLAIM,
        LEASE,
        EVENT,
        *CLUSTER_WIDE,
        *(r for family in OPTIONAL for r in family),
    )
}


def in_use(served: frozenset[tuple[str, str]]) -> tuple[Resource, ...]:
    """Return the optional kinds that are served, each in its best version."""
    found = ([r for r in family if (r.api_version, r.kind) in served] for family in OPTIONAL)
    return tuple(versions[0] for versions in found if versions)


def resource_of(manifest: Manifest) -> Resource:
    """Return the resource of a manifest; a kind that is not in the table is a mistake of ours."""
    return RESOURCES[manifest["apiVersion"], manifest["kind"]]


class Kube(Protocol):
    """What the operator does with the API server. Every method raises `ftjob.kube.errors.ApiError`."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Read one object."""
        ...

    def list_pages(
        self, resource: Resource, namespace: str | None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[list[Manifest]]:
        """Read all objects, page by page.

        Parameters
        ----------
        namespace
            None for all namespaces.
        selector
            A label selector, evaluated by the API server.
        metadata_only
            Whether only ``metadata`` is wanted; saves most of the bytes.
        """
        ...

    async def served(self) -> frozenset[tuple[str, str]]:
        """Return (apiVersion, kind) of everything that the API server serves, core kinds aside."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; a field that is not known is an error (``fieldValidation=Strict``)."""
        ...

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply, as this operator's field manager."""
        ...

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; its ``metadata.resourceVersion`` is the precondition."""
        ...

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Manifest, *, resource_version: str
    ) -> Manifest:
        """Merge-patch ``status`` if the object has not changed since; None removes a field (RFC 7386)."""
        ...

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Manifest, *, resource_version: str
    ) -> Manifest:
        """Merge-patch ``metadata`` if the object has not changed since; a list is replaced as a whole."""
        ...

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> Manifest:
        """Delete the object if it is still the one with this UID; return it as it is now, or a Status."""
        ...
