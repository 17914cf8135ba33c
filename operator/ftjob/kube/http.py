"""What the operator asks of a real API server, as HTTP requests."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import aiohttp

from ftjob.kube.client import Page
from ftjob.kube.decode import decode
from ftjob.kube.errors import GoneError, UnavailableError, api_error
from ftjob.kube.resources import Resource, resource_of
from ftjob.kube.transport import TooLargeError
from ftjob.models.names import CONTROLLER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from ftjob.kube.transport import Transport
    from ftjob.models.manifest import Manifest

FIRST_PAGE, LARGEST_PAGE = 20, 500
"""Objects of a list's first page, and at most."""
PAGE_BYTES = 1 << 20
"""What a page should have."""
PAGE_MAX = 4 << 20
"""What a page of several objects may have: it is in memory several times while it is read."""
LINE_MAX = 16 << 20
"""Of an event. etcd takes 1.5 MB for an object; JSON may have some of it in a longer way."""

WATCH_SECONDS = (240, 480)
SILENCE_SECONDS = 150.0
"""A watch has a bookmark each minute (cacher.go of k8s.io/apiserver); without a word for longer it hangs."""

_DISCOVERY = Resource("", "", "APIGroupDiscoveryList", "apis")
_AGGREGATED = "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class HttpKube:
    """Requests to a real API server; see `ftjob.kube.client.Kube`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Read one object."""
        return await self._request("get", resource, resource.path(namespace, name))

    async def list_pages(
        self, resource: Resource, namespace: str | None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        """Read all objects, page by page; starts again when the continue token has expired.

        Objects differ in size by a factor of a thousand, so how many make a page follows from the last ones.
        """
        headers = {"Accept": _METADATA_ONLY if metadata_only else "application/json"}
        token, limit = "", FIRST_PAGE
        while True:
            params = {"limit": str(limit)}
            if selector:
                params["labelSelector"] = selector
            if token:
                params["continue"] = token
            max_bytes = PAGE_MAX if limit > 1 else None
            try:
                page, size = await self._transport.request(
                    "list",
                    resource.plural,
                    resource.path(namespace),
                    params=params,
                    headers=headers,
                    max_bytes=max_bytes,
                )
            except TooLargeError:
                limit = max(1, limit // 5)
                continue
            except GoneError:
                if not token:
                    raise
                token = ""  # seen objects come a second time, which readers don't mind
                continue
            meta = page.get("metadata") or {}
            yield Page(page.get("items") or [], str(meta.get("resourceVersion") or ""))
            token = meta.get("continue") or ""
            if not token:
                return
            limit = max(1, min(LARGEST_PAGE, 5 * limit, limit * PAGE_BYTES // max(1, size)))

    async def watch(
        self, resource: Resource, namespace: str | None, *, selector: str = "", version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Yield (type, object) of each event, bookmarks among them, until the API server ends the watch."""
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311  so that watches don't end together
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        if selector:
            params["labelSelector"] = selector
        timeout = aiohttp.ClientTimeout(sock_connect=10, sock_read=SILENCE_SECONDS)
        path = resource.path(namespace)
        async with self._transport.answer(
            "watch", resource.plural, path, params=params, timeout=timeout
        ) as answer:
            async for line in _lines(answer):
                event_type, body = await _event(line)
                if event_type == "ERROR":
                    raise api_error(int(body.get("code") or 500), body)
                yield event_type, body

    async def served(self) -> frozenset[tuple[str, str]]:
        """Ask for all groups, versions and kinds in one request (aggregated discovery, KEP-3352)."""
        found = await self._request("list", _DISCOVERY, "/apis", headers={"Accept": _AGGREGATED})
        return frozenset(
            (f"{group['metadata']['name']}/{version['version']}", resource["responseKind"]["kind"])
            for group in found.get("items") or ()
            for version in group.get("versions") or ()
            for resource in version.get("resources") or ()
        )

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object, strictly."""
        resource = resource_of(manifest)
        return await self._request(
            "create",
            resource,
            resource.path(manifest["metadata"].get("namespace")),
            params={"fieldValidation": "Strict", "fieldManager": CONTROLLER},
            body=manifest,
        )

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object of the same resourceVersion."""
        resource, meta = resource_of(manifest), manifest["metadata"]
        path = resource.path(meta.get("namespace"), meta["name"])
        return await self._request(
            "update", resource, path, params={"fieldManager": CONTROLLER}, body=manifest
        )

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Manifest, *, resource_version: str
    ) -> Manifest:
        """Merge-patch ``status`` of an object of the same resourceVersion."""
        path = resource.path(namespace, name, "status")
        body = {"metadata": {"resourceVersion": resource_version}, "status": status}
        return await self._merge(resource, path, body, subresource="status")

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Manifest, *, resource_version: str
    ) -> Manifest:
        """Merge-patch ``metadata`` of an object of the same resourceVersion."""
        body = {"metadata": {**metadata, "resourceVersion": resource_version}}
        return await self._merge(resource, resource.path(namespace, name), body)

    async def _merge(
        self, resource: Resource, path: str, body: Manifest, *, subresource: str = ""
    ) -> Manifest:
        return await self._request(
            "patch",
            resource,
            path,
            subresource=subresource,
            params={"fieldManager": CONTROLLER},
            body=body,
            headers={"Content-Type": "application/merge-patch+json"},
        )

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> Manifest:
        """Delete the object with this UID; its dependents follow in the background."""
        return await self._request(
            "delete",
            resource,
            resource.path(namespace, name),
            body={"propagationPolicy": "Background", "preconditions": {"uid": uid}},
        )

    async def _request(
        self,
        verb: str,
        resource: Resource,
        path: str,
        *,
        subresource: str = "",
        params: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Manifest:
        label = f"{resource.plural}/{subresource}" if subresource else resource.plural
        found, _ = await self._transport.request(verb, label, path, params=params, body=body, headers=headers)
        return found


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a stream."""
    pieces, size = list[bytes](), 0
    async for chunk in answer.content.iter_any():
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*pieces, lines[0]])
            pieces, size = [], 0
        for line in lines:
            if line:
                yield line
        pieces.append(rest)
        size += len(rest)
        if size > LINE_MAX:
            raise UnavailableError(answer.status, "TooLarge", "an event without an end")


async def _event(line: bytes) -> tuple[str, dict[str, Any]]:
    """Read an event: its type and its object."""
    try:
        event = await decode(line)
        event_type, body = event["type"], event["object"]
    except (ValueError, TypeError, KeyError):
        event_type = body = None
    if not isinstance(event_type, str) or not isinstance(body, dict):
        text = line[:200].decode(errors="replace")
        raise UnavailableError(200, "NotJSON", f"a line of a watch that is no event: {text}")
    return event_type, body
