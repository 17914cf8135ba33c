"""The tap in kopf's session, against a real HTTP server that answers like the API server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import kopf
from aiohttp import web

from ftjob.control.watching.kopf_tap import tapped_session
from ftjob.kube.resources import POD, Resource

LIST: dict[str, Any] = {"kind": "PodList", "metadata": {"resourceVersion": "9"}}
Taken = list[tuple[str, str | None, str]]


def pod(version: str) -> dict[str, Any]:
    return {"metadata": {"name": "a", "resourceVersion": version}}


def line(event_type: str, version: str) -> bytes:
    return json.dumps({"type": event_type, "object": pod(version)}).encode() + b"\n"


@asynccontextmanager
async def session(chunks: list[bytes], taken: Taken) -> AsyncIterator[aiohttp.ClientSession]:
    async def pods(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response(
                {"kind": "PodList", "metadata": {"resourceVersion": "9"}, "items": [pod("8")]}
            )
        answer = web.StreamResponse()
        await answer.prepare(request)
        for chunk in chunks:
            await answer.write(chunk)
            await asyncio.sleep(0)
        return answer

    async def other(_request: web.Request) -> web.Response:
        return web.json_response({"items": [1]})

    async def refused(_request: web.Request) -> web.Response:
        return web.json_response({"message": "no"}, status=403)

    def take(resource: Resource, event_type: str | None, body: Any) -> None:
        taken.append((resource.plural, event_type, body["metadata"]["resourceVersion"]))
        if body["metadata"]["resourceVersion"] == "13":
            raise ValueError("an odd object")

    application = web.Application()
    application.add_routes(
        [web.get("/api/v1/pods", pods), web.get("/apis", other), web.get("/refused/pods", refused)]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    info = kopf.ConnectionInfo(server=url)
    tapped = tapped_session(info, [POD], take, lambda: taken.append(("listed", None, "")))
    tapped.headers["X-Server"] = url
    try:
        yield tapped
    finally:
        await tapped.close()
        await runner.cleanup()


async def read(tapped: aiohttp.ClientSession) -> list[tuple[str, str]]:
    """Read a watch as kopf does, and return types and versions of what it sees."""
    raw = b""
    async with tapped.get(tapped.headers["X-Server"] + "/api/v1/pods?watch=true") as answer:
        async for chunk in answer.content.iter_chunked(1 << 20):
            raw += chunk
    events = [json.loads(part) for part in raw.splitlines()]
    return [(e["type"], e["object"]["metadata"]["resourceVersion"]) for e in events]


async def test_of_a_list_the_items_are_taken_and_the_rest_is_left() -> None:
    taken: Taken = []
    async with (
        session([], taken) as tapped,
        tapped.get(tapped.headers["X-Server"] + "/api/v1/pods") as answer,
    ):
        body = await answer.json()
    assert taken == [("pods", None, "8"), ("listed", None, "")]
    assert body == LIST | {"items": []}


async def test_of_a_watch_kopf_sees_bookmarks_with_the_newest_version() -> None:
    taken: Taken = []
    whole = line("ADDED", "10") + line("MODIFIED", "11") + line("BOOKMARK", "12") + line("DELETED", "14")
    async with session([whole[:30], whole[30:]], taken) as tapped:
        seen = await read(tapped)
    assert taken == [("pods", "ADDED", "10"), ("pods", "MODIFIED", "11"), ("pods", "DELETED", "14")]
    assert {event_type for event_type, _ in seen} == {"BOOKMARK"}
    assert ("BOOKMARK", "12") in seen
    assert ("BOOKMARK", "14") in seen


async def test_lines_that_come_in_pieces_are_put_together() -> None:
    taken: Taken = []
    whole = line("ADDED", "10") + line("MODIFIED", "11")
    async with session([whole[i : i + 7] for i in range(0, len(whole), 7)], taken) as tapped:
        await read(tapped)
    assert taken == [("pods", "ADDED", "10"), ("pods", "MODIFIED", "11")]


async def test_errors_pass_and_an_odd_object_ends_nothing() -> None:
    taken: Taken = []
    error = json.dumps(
        {"type": "ERROR", "object": {"code": 410, "metadata": {"resourceVersion": ""}}}
    ).encode()
    async with session([line("ADDED", "13") + line("ADDED", "14") + error + b"\n"], taken) as tapped:
        seen = await read(tapped)
    assert [version for _, _, version in taken] == ["13", "14"]
    assert seen == [("BOOKMARK", "14"), ("ERROR", "")]


async def test_other_answers_are_left_alone() -> None:
    taken: Taken = []
    async with session([], taken) as tapped:
        async with tapped.get(tapped.headers["X-Server"] + "/apis") as answer:
            assert await answer.json() == {"items": [1]}
        async with tapped.get(tapped.headers["X-Server"] + "/refused/pods?watch=true") as answer:
            assert await answer.json() == {"message": "no"}
    assert taken == []
