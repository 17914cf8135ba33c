"""What the operator asks of the API server; `ftjob.kube.http` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ftjob.kube.resources import Resource
    from ftjob.models.manifest import Manifest


class Page(NamedTuple):
    """A part of a list."""

    items: list[Manifest]
    version: str
    """The list's resourceVersion, from which a watch may begin."""


class Kube(Protocol):
    """What the operator does with the API server. Every method raises `ftjob.kube.errors.ApiError`."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Read one object."""
        ...

    def list_pages(
        self, resource: Resource, namespace: str | None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
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

    def watch(
        self, resource: Resource, namespace: str | None, *, selector: str = "", version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield (type, object) of each event from a version on, bookmarks among them.

        It ends when the API server ends it, which it does every few minutes.
        """
        ...

    async def served(self) -> frozenset[tuple[str, str]]:
        """Return (apiVersion, kind) of everything that the API server serves, core kinds aside."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; a field that is not known is an error (``fieldValidation=Strict``)."""
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
