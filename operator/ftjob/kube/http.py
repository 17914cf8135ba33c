"""Requests to the API server, with aiohttp and orjson."""

from __future__ import annotations

import random
import time
from asyncio import sleep as pause
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import aiohttp
import orjson

from ftjob.kube.errors import GoneError, UnauthorizedError, UnavailableError, api_error
from ftjob.kube.resources import Resource, resource_of
from ftjob.models.names import CONTROLLER

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from ftjob.models.manifest import Manifest

TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
TOKEN_SECONDS = 60.0
"""A projected token is rewritten at 80 % of its life, an hour at least: once a minute is often enough."""

PAGE = 500
TRIES = 5
LONGEST_WAIT = 10.0
MEGABYTE = 1 << 20

_DISCOVERY = Resource("", "", "APIGroupDiscoveryList", "apis")
_AGGREGATED = "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def rotates() -> bool:
    """Whether the kubelet rewrites the token from time to time, so that it must be read again."""
    return TOKEN_FILE.exists()


def _nothing() -> None:
    """Allow every write."""


def _unseen(_verb: str, _resource: str, _code: int) -> None:
    """Count nothing."""


class Connection(Protocol):
    """Address and credentials of the API server; kopf's `ConnectionInfo` is one."""

    @property
    def server(self) -> str:
        """URL of the API server."""
        ...

    @property
    def proxy_url(self) -> str | None:
        """URL of the proxy in front of it."""
        ...

    @property
    def trust_env(self) -> bool:
        """Whether the environment may name a proxy."""
        ...

    def as_http_headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        ...

    def as_ssl_context(self) -> ssl.SSLContext:
        """Return what to trust, and the client's certificate."""
        ...


class HttpKube:
    """Requests to a real API server; see `ftjob.kube.client.Kube`.

    Parameters
    ----------
    read_credentials
        Called at the start, every minute where the token is rotated, and after a 401.
    before_write
        Called before each write; may end the process (of an operator that may have lost its Lease).
    on_request
        Called with verb, resource and HTTP code after every request; code 0 means no answer.
    """

    def __init__(
        self,
        *,
        read_credentials: Callable[[], Connection],
        before_write: Callable[[], None] = _nothing,
        on_request: Callable[[str, str, int], None] = _unseen,
        timeout_seconds: float = 30.0,
    ) -> None:
        self.before_write = before_write
        self._read_credentials = read_credentials
        self._on_request = on_request
        self._info = read_credentials()
        self._headers = self._info.as_http_headers()
        self._headers_read = time.monotonic()
        self._session = aiohttp.ClientSession(
            base_url=self._info.server.rstrip("/") + "/",
            connector=aiohttp.TCPConnector(limit=64, ssl=self._info.as_ssl_context(), keepalive_timeout=75),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=10),
            proxy=self._info.proxy_url,
            trust_env=self._info.trust_env,
            headers={"User-Agent": "ftjob-operator"},
            read_bufsize=MEGABYTE,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        """Read one object."""
        return await self._request("get", resource, resource.path(namespace, name))

    async def list_pages(
        self, resource: Resource, namespace: str | None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[list[Manifest]]:
        """Read all objects, page by page; starts again when the continue token has expired."""
        accept = _METADATA_ONLY if metadata_only else "application/json"
        token = ""
        while True:
            params = {"limit": str(PAGE)}
            if selector:
                params["labelSelector"] = selector
            if token:
                params["continue"] = token
            try:
                page = await self._request(
                    "list", resource, resource.path(namespace), params=params, headers={"Accept": accept}
                )
            except GoneError:
                if not token:
                    raise
                token = ""  # seen objects come a second time, which readers don't mind
                continue
            yield page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

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
        """Send a request, again if the API server is busy or away; every one of ours can be repeated.

        Names, preconditions and UIDs make that safe: a create that did happen is a 409 the second time.
        """
        label = f"{resource.plural}/{subresource}" if subresource else resource.plural
        data = None if body is None else orjson.dumps(body)
        for attempt in range(1, TRIES + 1):
            if verb not in {"get", "list"}:
                self.before_write()
            try:
                return await self._send(verb, label, path, params=params, data=data, headers=headers)
            except UnauthorizedError:
                if attempt > 1:
                    raise
                self._refresh()
            except UnavailableError as error:
                if attempt == TRIES:
                    raise
                wait = error.retry_after
                if wait is None:
                    wait = 0.1 * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
                await pause(min(wait, LONGEST_WAIT))
        raise AssertionError("unreachable")

    async def _send(
        self,
        verb: str,
        label: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Manifest:
        if time.monotonic() - self._headers_read > TOKEN_SECONDS and rotates():
            self._refresh()
        sent = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            **self._headers,
            **(headers or {}),
        }
        try:
            async with self._session.request(
                _METHODS[verb], path.lstrip("/"), params=params, data=data, headers=sent
            ) as answer:
                raw = await answer.read()
                code, retry_after = answer.status, answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            self._on_request(verb, label, 0)
            raise UnavailableError(0, type(error).__name__, str(error) or "no answer in time") from error
        self._on_request(verb, label, code)
        found = _decode(raw)
        if code < 300:
            return found
        failure = api_error(code, found)
        if isinstance(failure, UnavailableError) and retry_after.isdecimal():
            failure.retry_after = float(retry_after)
        raise failure

    def _refresh(self) -> None:
        self._headers = self._read_credentials().as_http_headers()
        self._headers_read = time.monotonic()


_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"message": raw[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {}
