"""The tap in kopf's session, against a real HTTP server that answers like the API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import kopf
import pytest
from aiohttp import web
from support.control_fake import Clock

from ftjob.control.watching import kopf_tap as module
from ftjob.control.watching.kopf_tap import Tap, tapped_session
from ftjob.control.watching.signs import Signs
from ftjob.kube.resources import JOB, Resource

PATH = "/apis/ftjob.dev/v1alpha1/frameworktrainingjobs"
GONE = ("ERROR", 410)


def line(event_type: str, version: str) -> bytes:
    body = {"metadata": {"name": "a", "resourceVersion": version}}
    return json.dumps({"type": event_type, "object": body}).encode() + b"\n"


@dataclass
class ApiServer:
    """Answers as the test says."""

    chunks: list[bytes] = field(default_factory=list)
    status: int = 200
    listed: bytes = b'{"metadata": {"resourceVersion": "9", "continue": "c"}, "items": [{"metadata": {}}]}'
    accepted: list[str] = field(default_factory=list)
    taken: list[tuple[str, str | None, str]] = field(default_factory=list)
    url: str = ""
    clock: Clock = field(default_factory=Clock)

    async def jobs(self, request: web.Request) -> web.StreamResponse:
        self.accepted.append(request.headers["Accept"])
        if self.status != 200:
            return web.json_response({"message": "no"}, status=self.status)
        if "watch" not in request.query:
            return web.Response(body=self.listed, content_type="application/json")
        answer = web.StreamResponse()
        await answer.prepare(request)
        for chunk in self.chunks:
            await answer.write(chunk)
            await asyncio.sleep(0)
        return answer

    async def other(self, _request: web.Request) -> web.Response:
        return web.json_response({"items": [1]}, status=self.status)

    def take(self, resource: Resource, event_type: str | None, body: Any) -> None:
        self.taken.append((resource.plural, event_type, body["metadata"]["resourceVersion"]))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        application = web.Application()
        application.add_routes([web.get(PATH, self.jobs), web.get("/apis", self.other)])
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        signs = Signs(clock=self.clock)
        tap = Tap(JOB, self.take, signs=signs, listed=lambda: self.taken.append(("listed", None, "")))
        self.signs = signs
        try:
            async with tapped_session(kopf.ConnectionInfo(server=self.url), tap) as session:
                yield session
        finally:
            await runner.cleanup()

    async def watch(self) -> list[tuple[str, str | int]]:
        """Read a watch as kopf does; return type and version, or code, of what it sees."""
        raw = b""
        async with self.session() as tapped, tapped.get(f"{self.url}{PATH}?watch=true") as answer:
            assert answer.status == 200
            async for chunk in answer.content.iter_chunked(1 << 20):
                raw += chunk
        objects = [(event["type"], event["object"]) for event in map(json.loads, raw.splitlines())]
        return [(kind, o.get("code") or o["metadata"]["resourceVersion"]) for kind, o in objects]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.0)


async def test_of_a_list_kopf_gets_the_version_and_the_rest_is_not_even_asked_for() -> None:
    server = ApiServer()
    async with server.session() as tapped, tapped.get(server.url + PATH) as answer:
        body = await answer.json()
    assert body == {"metadata": {"resourceVersion": "9", "continue": "c"}, "items": []}
    assert server.taken == [("listed", None, "")]
    assert "as=PartialObjectMetadataList" in server.accepted[0]


async def test_of_a_watch_kopf_sees_bookmarks_with_the_newest_version() -> None:
    whole = line("ADDED", "10") + line("MODIFIED", "11") + line("BOOKMARK", "12") + line("DELETED", "14")
    server = ApiServer([whole[:30], whole[30:]])
    seen = await server.watch()
    plural = JOB.plural
    assert server.taken == [(plural, "ADDED", "10"), (plural, "MODIFIED", "11"), (plural, "DELETED", "14")]
    assert {event_type for event_type, _ in seen} == {"BOOKMARK"}
    assert seen[-1] == ("BOOKMARK", "14")
    assert "PartialObjectMetadata" not in server.accepted[0], "a watch brings whole objects"


async def test_lines_that_come_in_pieces_are_put_together() -> None:
    whole = line("ADDED", "10") + line("MODIFIED", "11")
    server = ApiServer([whole[i : i + 7] for i in range(0, len(whole), 7)])
    await server.watch()
    assert [version for _, _, version in server.taken] == ["10", "11"]


BROKEN = {
    "an old version": b'{"type": "ERROR", "object": {"code": 410}}\n',
    "an error of the API server": b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}\n',
    "no JSON": b"<html>proxy\n",
    "no event": b"[1]\n",
    "no object": b'{"type": "ADDED", "object": null}\n',
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_whatever_breaks_a_watch_is_an_old_version_to_kopf(broken: bytes) -> None:
    server = ApiServer([line("ADDED", "10") + broken + line("ADDED", "11")])
    assert await server.watch() == [GONE]
    assert [version for _, _, version in server.taken] == ["10"]


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 503])
async def test_a_refused_watch_is_an_old_version_and_a_refused_list_a_broken_connection(status: int) -> None:
    server = ApiServer(status=status)
    assert await server.watch() == [GONE]
    async with server.session() as tapped:
        with pytest.raises(aiohttp.ClientConnectionError):
            await tapped.get(server.url + PATH)


@pytest.mark.parametrize("listed", [b"<html>proxy", b"[]", b'{"items": []}'])
async def test_a_list_that_cannot_be_read_is_a_broken_connection(listed: bytes) -> None:
    server = ApiServer(listed=listed)
    async with server.session() as tapped, tapped.get(server.url + PATH) as answer:
        with pytest.raises(aiohttp.ClientConnectionError):
            await answer.json()


async def test_a_401_and_what_is_not_about_jobs_are_left_to_kopf() -> None:
    server = ApiServer(status=401)
    async with server.session() as tapped, tapped.get(f"{server.url}{PATH}?watch=true") as answer:
        assert answer.status == 401
    server = ApiServer(status=403)
    async with server.session() as tapped, tapped.get(f"{server.url}/apis") as answer:
        assert (answer.status, await answer.json()) == (403, {"items": [1]})


async def test_events_and_bookmarks_are_signs_of_life() -> None:
    server = ApiServer([line("BOOKMARK", "10")])
    server.clock.now = 100.0
    await server.watch()
    server.clock.now = 280.0
    assert server.signs.silent() == ""
    server.clock.now = 281.0
    assert "frameworktrainingjobs.ftjob.dev has brought nothing for 181 s" in server.signs.silent()
