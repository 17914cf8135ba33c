"""Asking a real HTTP server that stands for an agent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from support.control_fake import FakeKube, context_of, job_body, pod_body

from ftjob.api.job import Job
from ftjob.control.apply import apply
from ftjob.control.cache.cache import Cache
from ftjob.control.context import Context
from ftjob.control.follow_agents import ask, follow_jobs
from ftjob.control.leaders import agent_client as module
from ftjob.kube.resources import JOB, POD
from ftjob.plan.build.token import job_token
from ftjob.plan.plan import Changes, NewObject, Plan, Step
from ftjob_protocol.leader_state import LIMIT, LeaderState
from ftjob_protocol.orders import Order, OrderKind
from ftjob_protocol.signing.signature import ANSWER_HEADER, NONCE, REQUEST_HEADER, Receiver, Sender

ANSWER = {
    "version": 1,
    "attempt": 0,
    "state": "Running",
    "progress": {"step": 3, "metrics": {}},
    "captures": {},
    "notes": ["n"],
    "watchdog": "w",
}
LEADER = LeaderState(0, "Running", {"step": 3}, watchdog="w")
SECRET = b"k" * 32
RUNS = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "runningTime": "2026-01-01T00:00:01Z"}


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def operator_and_agent(monkeypatch: pytest.MonkeyPatch, handle: Handler) -> AsyncIterator[Context]:
    """Serve what stands for the agent of a running job."""
    receiver = Receiver(job_token(SECRET, "job-1"), senders=1000)

    async def judge(request: web.Request) -> web.Response:
        body, target = await request.read(), request.path_qs
        signed = receiver.accept(request.method, target, request.headers.get(REQUEST_HEADER, ""))
        if signed is None or not signed.covers(body):
            return web.Response(status=401)
        answer = web.json_response(receiver.welcome()) if target == NONCE else await handle(request)
        answer.headers.setdefault(ANSWER_HEADER, receiver.sign(signed, answer.status, _bytes(answer)))
        return answer

    server = web.Application()
    server.add_routes([web.route("*", "/{any:.*}", judge)])
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setattr(module, "agent_port", lambda _uid: port)
    monkeypatch.setattr(module, "worker_port", lambda *_of: port)
    kube, cache = FakeKube(), Cache()
    cache.update(JOB, job_body(status=RUNS))
    cache.update(POD, pod_body(0, state={"running": {}}, podIP="127.0.0.1"))
    cache.update(POD, pod_body(1, state={"running": {}}, podIP="127.0.0.2"))
    ctx = context_of(kube, cache, key=SECRET)
    try:
        yield ctx
    finally:
        await ctx.agents.close()
        await runner.cleanup()


def _bytes(answer: web.Response) -> bytes:
    assert isinstance(answer.body, bytes | None)
    return answer.body or b""


def job_of(ctx: Context) -> Job:
    job = ctx.cache.job(("default", "digits"))
    assert isinstance(job, Job)
    return job


async def answered(ctx: Context) -> None:
    """Wait until no order is on its way."""
    await asyncio.gather(*ctx.orders._on_their_way.values())


async def asked(
    monkeypatch: pytest.MonkeyPatch, answer: web.Response
) -> tuple[Context, list[str], LeaderState | None]:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path)
        return answer

    async with operator_and_agent(monkeypatch, handle) as ctx:
        await ask(job_of(ctx), ctx, ctx.agents.sender(job_of(ctx)))
        return ctx, seen, ctx.cache.observe(job_of(ctx)).leader


async def test_the_leader_is_asked_and_news_have_the_job_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx, seen, leader = await asked(monkeypatch, web.json_response(ANSWER))
    assert seen == ["/v1/progress"]
    assert leader == LEADER
    assert await ctx.queue.get() == ("default", "digits")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=401),
        lambda: web.Response(text="not JSON"),
        lambda: web.json_response([1]),
        lambda: web.json_response({"attempt": "0"}),
        lambda: web.Response(text="[" * 2_000_000),
        lambda: web.json_response({**ANSWER, "captures": {f"s{n}": "0" for n in range(60_000)}}),
        lambda: web.json_response({**ANSWER, "captures": [{"id": "s0", "ranks": 5}]}),
        lambda: web.json_response({**ANSWER, "captures": {"s0": [[1]]}}),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: web.json_response(ANSWER, headers={ANSWER_HEADER: "0" * 64}),
        lambda: web.json_response(ANSWER, headers={ANSWER_HEADER: "é"}),
    ],
    ids=[
        "refused",
        "text",
        "list",
        "types",
        "endless",
        "captures",
        "number",
        "lists",
        "redirect",
        "forged",
        "forged badly",
    ],
)
async def test_whatever_a_pod_answers_nothing_happens(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    ctx, seen, leader = await asked(monkeypatch, answer())
    assert seen == ["/v1/progress"]
    assert leader is None
    assert ctx.queue.depth == 0


async def test_a_leader_that_begins_anew_is_asked_at_once_for_its_nonce(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.json_response(ANSWER)

    async with operator_and_agent(monkeypatch, handle) as ctx:
        sender = ctx.agents.sender(job_of(ctx))
        sender.nonce = "that of the one before"
        assert await ask(job_of(ctx), ctx, sender) == 1


async def test_of_a_stranger_at_the_leaders_address_nothing_is_believed_and_nothing_is_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[str] = []

    async def stranger(request: web.Request) -> web.StreamResponse:
        heard.append(f"{request.path_qs} {dict(request.headers)} {await request.text()}")
        if request.path == NONCE:
            return web.json_response({"nonce": "f" * 32}, headers={ANSWER_HEADER: "0" * 64})
        return web.json_response(ANSWER)

    server = web.Application()
    server.add_routes([web.route("*", "/{any:.*}", stranger)])
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with operator_and_agent(monkeypatch, lambda _request: pytest.fail("another was asked")) as ctx:
            monkeypatch.setattr(module, "agent_port", lambda _uid: runner.addresses[0][1])
            assert await ask(job_of(ctx), ctx, ctx.agents.sender(job_of(ctx))) is None
            await apply(job_of(ctx), Plan(Step.HOLD, order=Order(OrderKind.START, 1)), ctx)
            await answered(ctx)
            assert ctx.cache.observe(job_of(ctx)).leader is None
    finally:
        await runner.cleanup()
    assert len(heard) == 2
    assert all(said.startswith(NONCE) for said in heard)
    assert job_token(SECRET, "job-1") not in "".join(heard)


async def test_a_request_is_held_until_there_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    versions: list[str] = []
    is_held, has_failed = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        versions.append(request.query["version"])
        if versions[-1] == "1":
            is_held.set()
            await has_failed.wait()
        state = "Halted" if has_failed.is_set() else "Running"
        return web.json_response({**ANSWER, "version": 2 if has_failed.is_set() else 1, "state": state})

    async with operator_and_agent(monkeypatch, handle) as ctx:
        following = asyncio.create_task(follow_jobs(ctx))
        assert await ctx.queue.get() == ("default", "digits")
        ctx.queue.done(("default", "digits"))
        await is_held.wait()
        has_failed.set()
        assert await ctx.queue.get() == ("default", "digits")
        leader = ctx.cache.observe(job_of(ctx)).leader
        assert leader is not None
        assert leader.state == "Halted"
        following.cancel()


async def test_an_order_reaches_the_agent_and_its_answer_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, await request.json()))
        return web.json_response({**ANSWER, "state": "Halted", "ordered": 1})

    async with operator_and_agent(monkeypatch, handle) as ctx:
        await apply(job_of(ctx), Plan(Step.HOLD, order=Order(OrderKind.START, 1, 2.5)), ctx)
        assert await ctx.queue.get() == ("default", "digits")
        await apply(job_of(ctx), Plan(Step.CONTINUE, order=Order(OrderKind.END, 0)), ctx)
        await answered(ctx)
        leader = ctx.cache.observe(job_of(ctx)).leader
    assert seen == [
        ("POST", "/v1/start", {"attempt": 1, "waitSeconds": 2.5}),
        ("POST", "/v1/end", {"attempt": 0, "waitSeconds": 0.0}),
    ]
    assert leader is not None
    assert leader.ordered == 1


async def test_an_order_that_nobody_hears_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.json_response({"error": "its ranks run"}, status=409)

    async with operator_and_agent(monkeypatch, handle) as ctx:
        await apply(job_of(ctx), Plan(Step.HOLD, order=Order(OrderKind.START, 1)), ctx)
        await answered(ctx)
        assert ctx.cache.observe(job_of(ctx)).leader is None
        ctx.cache.update(
            POD, pod_body(0, state={"terminated": {"exitCode": 1}}, podIP="127.0.0.1", version="11")
        )
        await apply(job_of(ctx), Plan(Step.HOLD, order=Order(OrderKind.START, 1)), ctx)
        await answered(ctx)


async def test_an_answer_of_more_than_64_kib_is_refused_and_an_event_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = {**ANSWER, "notes": ["n" * (LIMIT - len(json.dumps({**ANSWER, "notes": [""]})))]}
    ctx, _, leader = await asked(monkeypatch, web.json_response(largest))
    assert leader == LEADER
    too_large = {**largest, "watchdog": "ww"}
    ctx, _, leader = await asked(monkeypatch, web.json_response(too_large))
    assert leader is None
    event = ctx.events._backlog.get_nowait()
    assert (event["type"], event["reason"]) == ("Warning", "AnswerRefused")
    assert event["note"] == "the answer of the pod of index 0 is refused: it has more than 65536 bytes"


async def test_leaders_that_hang_hold_up_no_reconciler_and_are_told_once_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = asyncio.Queue[str]()
    forever = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        heard.put_nowait(request.path)
        await forever.wait()
        return web.json_response(ANSWER)

    order = Plan(Step.CONTINUE, order=Order(OrderKind.END, 0))
    async with operator_and_agent(monkeypatch, hang) as ctx:
        monkeypatch.setattr(ctx.agents, "sender", lambda _job: Sender(job_token(SECRET, "job-1")))
        jobs = []
        for number in range(100):
            name, uid = f"hangs-{number}", f"hangs-{number}"
            ctx.cache.update(JOB, job_body(name, uid=uid, status=RUNS))
            leader = pod_body(0, uid=f"pod-{number}", job_uid=uid, state={"running": {}}, podIP="127.0.0.1")
            leader["metadata"]["labels"]["ftjob.dev/job"] = name
            ctx.cache.update(POD, leader)
            jobs.append(ctx.cache.job(("default", name)))
        for job in (*jobs, *jobs):
            assert job is not None
            await apply(job, order, ctx)
        assert {await heard.get() for _ in range(100)} == {"/v1/end"}
        assert len(ctx.orders._on_their_way) == 100
        pod = NewObject.of(pod_body(3))
        await apply(job_of(ctx), Plan(Step.CONTINUE, changes=Changes(create=(pod,))), ctx)
        assert ("create", "Pod", "digits-worker-0-3") in ctx.kube.calls  # type: ignore[attr-defined]
        assert heard.empty()
        await ctx.orders.close()
        assert not ctx.orders._on_their_way
        await apply(job_of(ctx), order, ctx)
        assert await heard.get() == "/v1/end"
        await ctx.orders.close()
        forever.set()


async def test_a_job_that_was_deleted_while_its_leader_was_asked_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_asked, is_deleted = asyncio.Event(), asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        is_asked.set()
        await is_deleted.wait()
        return web.json_response(ANSWER)

    async with operator_and_agent(monkeypatch, handle) as ctx:
        job = job_of(ctx)
        asking = asyncio.create_task(ask(job, ctx, ctx.agents.sender(job)))
        await is_asked.wait()
        ctx.cache.mark_deleted(JOB, job_body(version="2"))
        is_deleted.set()
        await asking
        assert not ctx.cache.leader_states._states
        assert ctx.queue.depth == 0


async def test_an_agent_that_its_leader_has_not_heard_of_is_asked_itself_why_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def handle(request: web.Request) -> web.Response:
        waits = {"version": 1, "attempt": 0, "state": "Waiting"}
        is_leader = "wait" in request.query
        return web.json_response(waits | ({"absent": ["worker-1"]} if is_leader else {"waits": "can't\x1b"}))

    async with operator_and_agent(monkeypatch, handle) as ctx:
        ctx.cache.update(JOB, job_body(version="2", status=RUNS | {"phase": "Starting"}))
        ctx.cache.update(POD, pod_body(1, state={"running": {}}, podIP="127.0.0.1", version="11"))
        await ask(job_of(ctx), ctx, ctx.agents.sender(job_of(ctx)))
        told = ctx.cache.observe(job_of(ctx)).leader
        assert told is not None
        assert (told.absent, told.waits) == (("worker-1",), "can't")


async def test_why_a_leader_cannot_be_asked_is_kept_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [web.Response(status=503, text="later"), web.json_response(ANSWER)]

    async def handle(_request: web.Request) -> web.Response:
        return answers.pop(0)

    async with operator_and_agent(monkeypatch, handle) as ctx:
        ctx.cache.update(JOB, job_body(version="2", status=RUNS | {"phase": "Starting"}))
        await ask(job_of(ctx), ctx, ctx.agents.sender(job_of(ctx)))
        assert ctx.cache.observe(job_of(ctx)).unreached == "HTTP 503: later"
        assert await ctx.queue.get() == ("default", "digits")
        await ask(job_of(ctx), ctx, ctx.agents.sender(job_of(ctx)))
        assert ctx.cache.observe(job_of(ctx)).unreached == ""
