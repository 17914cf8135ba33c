"""Takes objects off kopf's connections before kopf makes events of them.

kopf logs in, lists, watches, follows bookmarks and reconnects. What it then does for every single event
(a task and a queue per object, four loggers, copies of the body for handlers that compare states) costs
half a millisecond of CPU and some kilobytes for good, in bursts of thousands. So its HTTP session, which
kopf lets its users provide, reads lists and watches first: objects go straight into the cache, and kopf
sees the same list without items, and a watch of bookmarks.

Without the tap everything works, only slower: objects that pass it arrive at kopf's handlers
(`ftjob.control.watching.watch`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    import kopf
    from aiohttp.connector import Connection

    from ftjob.kube.resources import Resource

    Take = Callable[[Resource, str | None, Any], None]
    """Takes an event: the resource, its type (None for an item of a list), and the object."""

EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED"})
READ_BUFFER = 1 << 20

logger = logging.getLogger(__name__)


def tapped_session(
    info: kopf.ConnectionInfo,
    resources: Iterable[Resource],
    take: Take,
    listed: Callable[[], None],
) -> aiohttp.ClientSession:
    """Return a session for kopf that takes the objects of some resources out of the answers.

    Parameters
    ----------
    resources
        Those to take out.
    listed
        Called after each list: it says nothing of the objects that were deleted before it.
    """
    places = {tuple(resource.path(None).strip("/").split("/")): resource for resource in resources}

    class Tapped(aiohttp.ClientResponse):
        """An answer to kopf."""

        def _resource(self) -> Resource | None:
            return _at(places, self.url.parts) if self.method == "GET" and self.status == 200 else None

        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            """Read the headers; of a watch, put the tap before the content."""
            await super().start(connection)
            resource = self._resource()
            if resource is not None and "watch" in self.url.query:
                self.content = Watch(self.content, resource, take)  # type: ignore[assignment]
            return self

        async def json(self, **more: Any) -> Any:
            """Return the body; of a list, without its items."""
            resource = self._resource()
            if resource is None:
                return await super().json(**more)
            body = orjson.loads(await self.read())
            for item in body.get("items") or ():
                _take(take, resource, None, item)
            listed()
            return {**body, "items": []}

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers={**info.as_http_headers(), "User-Agent": "ftjob-operator"},
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        response_class=Tapped,
        read_bufsize=READ_BUFFER,
    )


def _at(places: Mapping[tuple[str, ...], Resource], parts: tuple[str, ...]) -> Resource | None:
    """Return the resource that a path lists; a proxy may have put something before the path."""
    if parts[-3:-2] == ("namespaces",):
        parts = (*parts[:-3], parts[-1])
    return places.get(parts[-3:]) or places.get(parts[-4:])


class Watch:
    """The content of a watch, in place of aiohttp's reader: kopf reads it by chunks."""

    def __init__(self, content: aiohttp.StreamReader, resource: Resource, take: Take) -> None:
        self._content = content
        self._resource = resource
        self._take = take

    def __getattr__(self, name: str) -> Any:
        """Leave everything but the reading to aiohttp's reader."""
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield only bookmarks and errors to kopf, and one bookmark for all objects of a chunk."""
        pieces: list[bytes] = []
        async for chunk in self._content.iter_chunked(size):
            head, newline, rest = chunk.rpartition(b"\n")
            if not newline:
                pieces.append(chunk)
                continue
            passed = self._read(b"".join([*pieces, head]))
            pieces = [rest]
            if passed:
                yield passed

    def _read(self, lines: bytes) -> bytes:
        passed: list[bytes] = []
        version = None
        for line in lines.split(b"\n"):
            if not line:
                continue
            event = orjson.loads(line)
            if event["type"] in EVENTS:
                version = event["object"]["metadata"]["resourceVersion"]
                _take(self._take, self._resource, event["type"], event["object"])
            else:
                passed.append(line)
        if version is not None:
            body = {
                "apiVersion": self._resource.api_version,
                "kind": self._resource.kind,
                "metadata": {"resourceVersion": version},
            }
            # First, since a line that is passed on may be a later bookmark.
            passed.insert(0, orjson.dumps({"type": "BOOKMARK", "object": body}))
        return b"".join(line + b"\n" for line in passed)


def _take(take: Take, resource: Resource, event_type: str | None, body: Any) -> None:
    """Take one object; an error of one must not end the watch of all others."""
    try:
        take(resource, event_type, body)
    except Exception:
        logger.exception("%s of %s not understood", event_type or "item", resource.plural)
