"""Requests to the API server: credentials, retries and errors, with aiohttp."""

from __future__ import annotations

import random
import time
from asyncio import sleep as pause
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import aiohttp
import orjson

from ftjob.kube.decode import decode
from ftjob.kube.errors import UnauthorizedError, UnavailableError, api_error

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from ftjob.models.manifest import Manifest

TOKEN_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
TOKEN_SECONDS = 60.0
"""A projected token is rewritten at 80 % of its life, an hour at least: once a minute is often enough."""

TRIES = 5
LONGEST_WAIT = 60.0
MEGABYTE = 1 << 20

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


class TooLargeError(Exception):
    """The answer is larger than it may be."""


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


class Transport:
    """Sends requests to the API server.

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
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=10)
        self._session = aiohttp.ClientSession(
            base_url=self._info.server.rstrip("/") + "/",
            connector=aiohttp.TCPConnector(limit=64, ssl=self._info.as_ssl_context(), keepalive_timeout=75),
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

    async def request(
        self,
        verb: str,
        label: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> tuple[Manifest, int]:
        """Send a request, again if the API server is busy or away; every one of ours can be repeated.

        Names, preconditions and UIDs make that safe: a create that did happen is a 409 the second time.

        Parameters
        ----------
        label
            The resource's name in metrics.
        max_bytes
            How large an answer may be.

        Returns
        -------
        tuple
            The object, and the bytes of the answer.

        Raises
        ------
        TooLargeError
        ftjob.kube.errors.ApiError
        """
        data = None if body is None else orjson.dumps(body)
        for attempt in range(1, TRIES + 1):
            if METHODS[verb] != "GET":
                self.before_write()
            try:
                async with self.answer(
                    verb, label, path, params=params, data=data, headers=headers, timeout=self._timeout
                ) as answer:
                    return await _manifest(answer, max_bytes)
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

    @asynccontextmanager
    async def answer(
        self,
        verb: str,
        label: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's, of several parts
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request once, and give its answer while it is being read.

        Raises
        ------
        ftjob.kube.errors.ApiError
            It was refused, or the connection has failed, also while the answer is read.
        """
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
                METHODS[verb], path.lstrip("/"), params=params, data=data, headers=sent, timeout=timeout
            ) as answer:
                self._on_request(verb, label, answer.status)
                if answer.status >= 300:
                    raise await _failure(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            self._on_request(verb, label, 0)
            raise UnavailableError(0, type(error).__name__, str(error) or "no answer in time") from error

    def _refresh(self) -> None:
        self._headers = self._read_credentials().as_http_headers()
        self._headers_read = time.monotonic()


async def _manifest(answer: aiohttp.ClientResponse, max_bytes: int | None) -> tuple[Manifest, int]:
    """Return the object of a success. Anything else is no success: never an empty list."""
    pieces, size = list[bytes](), 0
    async for piece in answer.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if max_bytes is not None and size > max_bytes:
            raise TooLargeError
    raw = b"".join(pieces)
    try:
        found = await decode(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        text = raw[:200].decode(errors="replace")
        raise UnavailableError(answer.status, "NotJSON", f"an answer that is no JSON object: {text}")
    return found, size


async def _failure(answer: aiohttp.ClientResponse) -> Exception:
    """Return the error that an answer stands for."""
    raw = await answer.read()
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        body = {"message": raw[:200].decode(errors="replace")}
    failure = api_error(answer.status, body)
    retry_after = answer.headers.get("Retry-After", "")
    if isinstance(failure, UnavailableError) and retry_after.isdecimal():
        failure.retry_after = float(retry_after)
    return failure
