"""The adapter against a real HTTP server that answers as the test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest
from aiohttp import web

from ftjob.kube.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from ftjob.kube.http import HttpKube
from ftjob.kube.resources import JOB, POD, SERVICE
from ftjob.kube.transport import Transport

OK: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "a"}}


@dataclass
class Server:
    """Answers in the order in which they are given, the last one again and again."""

    answers: list[web.Response]
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        return await self.handle(request)

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        self.bodies.append(await request.json() if request.can_read_body else None)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def status(code: int, reason: str = "R", **headers: str) -> web.Response:
    return web.json_response(
        {"kind": "Status", "reason": reason, "message": "m"}, status=code, headers=headers
    )


@asynccontextmanager
async def serving(*answers: web.Response, **more: Any) -> AsyncIterator[tuple[HttpKube, Server]]:
    server = Server(list(answers) or [web.json_response(OK)])
    application = web.Application()
    application.add_routes([web.route("*", "/{any:.*}", server.answer)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    tokens = iter(f"token-{n}" for n in range(100))

    def credentials() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=url, token=next(tokens))

    try:
        async with Transport(read_credentials=credentials, **more) as transport:
            yield HttpKube(transport), server
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    asked: list[float] = []

    async def remember(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr("ftjob.kube.transport.pause", remember)
    return asked


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, InvalidError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, GoneError),
        (422, InvalidError),
        (418, ApiError),
    ],
)
async def test_an_error_is_a_type_and_is_not_repeated(code: int, error: type[ApiError]) -> None:
    async with serving(status(code, "Why")) as (kube, server):
        with pytest.raises(error) as caught:
            await kube.get(POD, "default", "a")
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.reason, caught.value.message) == (code, "Why", "m")
    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_busy_server_is_asked_again_when_it_says(code: int, waits: list[float]) -> None:
    answers = status(code, **{"Retry-After": "3"}), status(code), web.json_response(OK)
    async with serving(*answers) as (kube, server):
        assert await kube.get(POD, "default", "a") == OK
    assert len(server.seen) == 3
    assert waits[0] == 3.0
    assert 0 < waits[1] < 1


async def test_a_server_that_stays_away_is_given_up_and_long_waits_are_cut(waits: list[float]) -> None:
    async with serving(status(503, **{"Retry-After": "3600"})) as (kube, server):
        with pytest.raises(UnavailableError):
            await kube.create({"apiVersion": "v1", **OK})
    assert len(server.seen) == 5
    assert waits == [60.0] * 4


async def test_credentials_are_read_again_after_a_401_once() -> None:
    async with serving(status(401), web.json_response(OK)) as (kube, server):
        await kube.get(POD, "default", "a")
    assert [r.headers["Authorization"] for r in server.seen] == ["Bearer token-0", "Bearer token-1"]
    async with serving(status(401)) as (kube, server):
        with pytest.raises(UnauthorizedError):
            await kube.get(POD, "default", "a")
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=502, text="<html>proxy"),
        web.Response(status=200, text="<html>proxy"),
        web.Response(status=200, text='{"items": [<html>proxy'),
        web.Response(status=200, text='["<html>proxy"]'),
        web.Response(status=201, text="[" * 2000 + "<html>proxy"),
    ],
    ids=["an error", "a success", "cut off", "no object", "brackets"],
)
async def test_an_answer_that_is_no_json_is_an_error_and_never_an_empty_list(answer: web.Response) -> None:
    async with serving(answer) as (kube, _):
        with pytest.raises(UnavailableError):
            await kube.get(POD, "default", "a")
        with pytest.raises(UnavailableError):
            [page async for page in kube.list_pages(POD, None)]


async def test_lists_are_read_page_by_page_and_again_from_the_start_if_a_page_is_too_old() -> None:
    def page(name: str, token: str) -> web.Response:
        return web.json_response({"items": [{"metadata": {"name": name}}], "metadata": {"continue": token}})

    answers = page("a", "t1"), status(410), page("a", "t2"), page("b", "")
    async with serving(*answers) as (kube, server):
        found = [
            body["metadata"]["name"]
            async for page in kube.list_pages(POD, None, selector="ftjob.dev/uid", metadata_only=True)
            for body in page.items
        ]
    assert found == ["a", "a", "b"]
    assert [r.query.get("continue") for r in server.seen] == [None, "t1", None, "t2"]
    assert {r.path for r in server.seen} == {"/api/v1/pods"}
    assert {r.query["labelSelector"] for r in server.seen} == {"ftjob.dev/uid"}
    assert "PartialObjectMetadataList" in server.seen[0].headers["Accept"]


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "body"),
    [
        (
            lambda kube: kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "n"}}),
            "POST",
            "/api/v1/namespaces/n/pods",
            {"fieldValidation": "Strict", "fieldManager": "ftjob.dev/operator"},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "n"}},
        ),
        (
            lambda kube: kube.patch_status(JOB, "n", "a", {"phase": None}, resource_version="7"),
            "PATCH",
            "/apis/ftjob.dev/v1alpha1/namespaces/n/frameworktrainingjobs/a/status",
            {"fieldManager": "ftjob.dev/operator"},
            {"metadata": {"resourceVersion": "7"}, "status": {"phase": None}},
        ),
        (
            lambda kube: kube.patch_metadata(POD, "n", "a", {"labels": {"x": "y"}}, resource_version="7"),
            "PATCH",
            "/api/v1/namespaces/n/pods/a",
            {"fieldManager": "ftjob.dev/operator"},
            {"metadata": {"resourceVersion": "7", "labels": {"x": "y"}}},
        ),
        (
            lambda kube: kube.delete(SERVICE, "n", "a", uid="u"),
            "DELETE",
            "/api/v1/namespaces/n/services/a",
            {},
            {"propagationPolicy": "Background", "preconditions": {"uid": "u"}},
        ),
    ],
    ids=["create", "patch_status", "patch_metadata", "delete"],
)
async def test_each_write_is_the_request_that_it_should_be(
    call: Callable[[HttpKube], Any], method: str, path: str, query: dict[str, str], body: Any
) -> None:
    async with serving() as (kube, server):
        await call(kube)
    (request,) = server.seen
    assert (request.method, request.path, dict(request.query)) == (method, path, query)
    assert server.bodies == [body]


async def test_each_write_asks_first_and_each_request_is_counted() -> None:
    counted: list[tuple[str, str, int]] = []
    asked: list[str] = []
    async with serving(
        on_request=lambda verb, resource, code: counted.append((verb, resource, code)),
        before_write=lambda: asked.append("may I?"),
    ) as (kube, _):
        await kube.get(POD, "default", "a")
        assert asked == []
        await kube.patch_status(JOB, "n", "a", {}, resource_version="7")
        await kube.delete(POD, "n", "a", uid="u")
    assert len(asked) == 2
    assert counted == [
        ("get", "pods", 200),
        ("patch", "frameworktrainingjobs/status", 200),
        ("delete", "pods", 200),
    ]


async def test_no_answer_at_all_is_an_error_too() -> None:
    async with serving():
        pass

    def nowhere() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server="http://127.0.0.1:9")

    async with Transport(read_credentials=nowhere) as transport:
        with pytest.raises(UnavailableError) as caught:
            await HttpKube(transport).get(POD, "default", "a")
    assert caught.value.code == 0


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("levels", [850, 1000, 1100, 9000])
async def test_an_object_that_is_too_deep_hides_no_other(levels: int) -> None:
    deep = '{"metadata": {"name": "deep \\" [[{"}, "spec": THIS, "after": [1]}'.replace(
        "THIS", nested(levels)
    )
    text = '{"items": [THIS, {"metadata": {"name": "good"}}], "metadata": {"resourceVersion": "7"}}'
    text = text.replace("THIS", deep)
    async with serving(web.Response(text=text, content_type="application/json")) as (kube, _):
        [page] = [page async for page in kube.list_pages(JOB, None)]
    assert [item["metadata"]["name"] for item in page.items] == ['deep " [[{', "good"]
    assert (page.items[0]["after"], page.version) == ([1], "7")
    depth, spec = 0, page.items[0]["spec"]
    while isinstance(spec, dict):
        depth, spec = depth + 1, spec["a"]
    assert (depth, spec) == ((levels, 1) if levels < 1024 else (897, None))


async def test_pages_are_made_smaller_until_they_fit_and_larger_while_they_are_small() -> None:
    sizes = [2_000_000] * 30 + [100] * 3000
    asked: list[int] = []

    async def handle(request: web.Request) -> web.Response:
        first, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        asked.append(limit)
        found = [{"metadata": {"name": "x" * size}} for size in sizes[first : first + limit]]
        left = first + limit < len(sizes)
        meta = {"resourceVersion": "7", "continue": str(first + limit) if left else ""}
        return web.json_response({"items": found, "metadata": meta})

    async with serving(web.Response()) as (kube, server):
        server.handle = handle  # type: ignore[method-assign]
        pages = [len(page.items) async for page in kube.list_pages(JOB, None)]
    assert sum(pages) == len(sizes)
    assert asked[:3] == [20, 4, 1], "more than 4 MiB are not read"
    assert pages[:30] == [1] * 30
    assert max(pages) == 500


EVENT = '{"type": "ADDED", "object": {"metadata": {"name": "a"}}}'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (EVENT + "\n", None),
        (EVENT + '\n{"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}\n', GoneError),
        (EVENT + '\n{"type": "ERROR", "object": {"code": 500}}\n', UnavailableError),
        (EVENT + '\n{"type": "ERROR", "object": {}}\n', UnavailableError),
        (EVENT + "\n<html>proxy\n", UnavailableError),
        (EVENT + '\n{"type": "ADDED"}\n', UnavailableError),
        (EVENT + "\n[1]\n", UnavailableError),
    ],
    ids=["its end", "gone", "an error", "an odd error", "no JSON", "no object", "no event"],
)
async def test_a_watch_gives_events_until_it_ends_or_breaks(text: str, error: type[ApiError] | None) -> None:
    seen: list[str] = []
    async with serving(web.Response(text=text)) as (kube, server):

        async def read() -> None:
            async for event_type, body in kube.watch(POD, None, selector="ftjob.dev/uid", version="7"):
                seen.append(f"{event_type} {body['metadata']['name']}")

        if error is None:
            await read()
        else:
            with pytest.raises(error):
                await read()
    assert seen == ["ADDED a"]
    assert len(server.seen) == 1, "whoever watches decides when to try again"
    assert server.seen[0].query["resourceVersion"] == "7"
