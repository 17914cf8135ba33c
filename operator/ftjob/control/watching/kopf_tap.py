"""Takes jobs off kopf's connections before kopf makes events of them, and shows kopf only what it survives.

kopf logs in, lists, watches, follows bookmarks and reconnects. What it then does for every single event
(a task and a queue per object, four loggers, copies of the body for handlers that compare states) costs
half a millisecond of CPU and some kilobytes for good, in bursts of thousands. So its HTTP session, which
kopf lets its users provide, reads the watch first: objects go straight into the cache, and kopf sees a watch
of bookmarks.

A refusal, an ``ERROR`` event or a line that can't be read ends kopf's watch for good (kopf 1.45.2,
``_cogs/clients/watching.py``), though all of them pass. Of a watch they become a 410 here, after which kopf
lists anew; of a list, a broken connection, after which it tries again. Of a list kopf needs no more than the
version to watch from, so it gets metadata only; which jobs are news, the sweep finds out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from ftjob.kube.decode import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import kopf
    from aiohttp.connector import Connection

    from ftjob.control.watching.feed import Take
    from ftjob.control.watching.signs import Signs
    from ftjob.kube.resources import Resource

EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED"})
READ_BUFFER = 1 << 20
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 3.0
GONE = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n'

logger = logging.getLogger(__name__)


class _Trouble:
    """How often in a row the API server has refused, and the pause that follows."""

    def __init__(self) -> None:
        self._times = 0

    async def pause(self, what: str) -> None:
        """Say what happened, and wait; longer each time."""
        logger.warning("no watch of jobs (%s); trying again", what)
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self._times)
        self._times = min(self._times + 1, 10)
        await asyncio.sleep(seconds)

    def over(self) -> None:
        """Note an event."""
        self._times = 0


def tapped_session(info: kopf.ConnectionInfo, tap: Tap) -> aiohttp.ClientSession:
    """Return a session for kopf whose answers pass the tap."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers={**info.as_http_headers(), "User-Agent": "ftjob-operator"},
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        response_class=_tapped(tap),
        middlewares=(tap.ask_for_metadata,),
        read_bufsize=READ_BUFFER,
    )


class Tap:
    """Takes the objects of a resource out of answers.

    Parameters
    ----------
    listed
        Called after each list: it says nothing of the objects that were deleted before it.
    """

    def __init__(self, resource: Resource, take: Take, *, signs: Signs, listed: Callable[[], None]) -> None:
        self.resource = resource
        self.take = take
        self.trouble = _Trouble()
        self._listed = listed
        self._signs = signs
        self.seen()

    def seen(self) -> None:
        """Note a sign of life."""
        self._signs.seen(f"{self.resource.plural}.{self.resource.group}")

    def is_about(self, url: Any) -> bool:
        """Whether a URL lists or watches the resource."""
        return _is_collection(self.resource, url.parts)

    async def ask_for_metadata(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Have a list answered with metadata only."""
        if self.is_about(request.url) and "watch" not in request.url.query:
            request.headers["Accept"] = METADATA_ONLY
        return await send(request)

    async def began(self, answer: aiohttp.ClientResponse) -> None:
        """Look at the headers of an answer: put the tap before a watch's content, and hide refusals."""
        if not self.is_about(answer.url) or answer.status == 401:  # kopf logs in anew
            return
        is_watch = "watch" in answer.url.query
        if answer.status != 200:
            await self.trouble.pause(f"HTTP {answer.status}")
            if not is_watch:
                raise aiohttp.ClientConnectionError(f"HTTP {answer.status}")
            answer.status = 200
            answer.content = _Gone(answer.content)  # type: ignore[assignment]
        elif is_watch:
            answer.content = Watch(answer.content, self)  # type: ignore[assignment]

    async def list_without_items(self, raw: bytes) -> Any:
        """Return of a list what kopf needs of it."""
        try:
            meta = (await decode(raw))["metadata"]
            kept = {"resourceVersion": meta["resourceVersion"], "continue": meta.get("continue")}
        except (ValueError, TypeError, KeyError) as error:
            await self.trouble.pause("a list that can't be read")
            raise aiohttp.ClientConnectionError("a list that can't be read") from error
        self.seen()
        self._listed()
        return {"metadata": kept, "items": []}


def _tapped(tap: Tap) -> type[aiohttp.ClientResponse]:
    class Tapped(aiohttp.ClientResponse):
        """An answer to kopf."""

        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            """Read the headers."""
            await super().start(connection)
            await tap.began(self)
            return self

        async def json(self, **more: Any) -> Any:
            """Return the body."""
            if not tap.is_about(self.url):
                return await super().json(**more)
            return await tap.list_without_items(await self.read())

    return Tapped


def _is_collection(resource: Resource, parts: tuple[str, ...]) -> bool:
    """Whether a path lists the resource; a proxy may have put something before the path."""
    if parts[-3:-2] == ("namespaces",):
        parts = (*parts[:-3], parts[-1])
    place = tuple(resource.path(None).strip("/").split("/"))
    return parts[-len(place) :] == place


class _Gone:
    """The content of a watch that was refused, in place of aiohttp's reader."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        """Leave everything but the reading to aiohttp's reader."""
        return getattr(self._content, name)

    async def iter_chunked(self, _size: int) -> AsyncIterator[bytes]:
        """Yield that kopf has to list anew."""
        yield GONE


class Watch:
    """The content of a watch, in place of aiohttp's reader: kopf reads it by chunks."""

    def __init__(self, content: aiohttp.StreamReader, tap: Tap) -> None:
        self._content = content
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        """Leave everything but the reading to aiohttp's reader."""
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield only bookmarks to kopf, one for all events of a chunk; and 410 if the watch breaks."""
        pieces: list[bytes] = []
        async for chunk in self._content.iter_chunked(size):
            head, newline, rest = chunk.rpartition(b"\n")
            if not newline:
                pieces.append(chunk)
                continue
            lines, pieces = b"".join([*pieces, head]).split(b"\n"), [rest]
            version = None
            for line in lines:
                if not line:
                    continue
                try:
                    version = await self._read(line)
                except (ValueError, TypeError, KeyError) as error:
                    await self._tap.trouble.pause(str(error))
                    yield GONE
                    return
            if version is not None:
                yield self._bookmark(version)

    async def _read(self, line: bytes) -> str:
        """Take an event; return its version."""
        event = await decode(line)
        kind, body = event["type"], event["object"]
        if kind not in EVENTS and kind != "BOOKMARK":
            raise ValueError(f"{kind} {body.get('code')}: {body.get('message')}")
        version: str = body["metadata"]["resourceVersion"]
        self._tap.seen()
        self._tap.trouble.over()
        if kind in EVENTS:
            self._tap.take(self._tap.resource, kind, body)
        return version

    def _bookmark(self, version: str) -> bytes:
        body = {
            "apiVersion": self._tap.resource.api_version,
            "kind": self._tap.resource.kind,
            "metadata": {"resourceVersion": version},
        }
        return orjson.dumps({"type": "BOOKMARK", "object": body}) + b"\n"
