"""Asking a real HTTP server that stands for an agent."""

import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support.control_fake import FakeKube, job_body, pod_body

from ftjob.control import progress as module
from ftjob.control.cache import Cache
from ftjob.control.context import Context
from ftjob.control.events import Events
from ftjob.control.metrics import Metrics
from ftjob.control.progress import ask, read_report
from ftjob.control.queue import Queue
from ftjob.control.status import Pace
from ftjob.plan.decision import Config
from ftjob.plan.observed import LeaderReport
from ftjob.plan.token import bearer_token

ANSWER = {
    "version": 1,
    "attempt": 0,
    "state": "Running",
    "progress": {"step": 3, "metrics": {}},
    "captures": [],
    "notes": ["n"],
    "watchdog": "w",
}
REPORT = LeaderReport(0, "Running", {"step": 3, "metrics": {}}, (), ("n",), "w")
SECRET = b"k" * 32


async def asked(
    monkeypatch: pytest.MonkeyPatch, answer: web.Response
) -> tuple[Context, list[str], LeaderReport | None]:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(f"{request.path} {request.headers['Authorization']}")
        return answer

    server = web.Application()
    server.add_routes([web.get("/{any:.*}", handle)])
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setattr(module, "agent_port", lambda _uid: port)
    kube, cache = FakeKube(), Cache()
    cache.see_job(job_body(status={"phase": "Running"}))
    cache.see_pod(pod_body(0, state={"running": {}}, podIP="127.0.0.1"))
    cache.see_pod(pod_body(1, state={"running": {}}, podIP="127.0.0.2"))
    ctx = Context(
        kube=kube,
        cache=cache,
        queue=Queue(),
        pace=Pace(),
        events=Events(kube, "test"),
        metrics=Metrics(),
        config=Config(agent_key=SECRET),
        clock=time.time,
    )
    job = cache.job(("default", "digits"))
    assert job is not None
    try:
        async with aiohttp.ClientSession() as session:
            await ask(job, ctx, session)
    finally:
        await runner.cleanup()
    return ctx, seen, cache.observe(job).report


async def test_the_leader_is_asked_with_the_jobs_token_and_news_have_the_job_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx, seen, report = await asked(monkeypatch, web.json_response(ANSWER))
    assert seen == [f"/v1/progress Bearer {bearer_token(SECRET, 'job-1')}"]
    assert report == REPORT
    assert await ctx.queue.get() == ("default", "digits")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=401),
        lambda: web.Response(text="not JSON"),
        lambda: web.json_response([1]),
        lambda: web.json_response({"attempt": "0"}),
        lambda: web.Response(text="[" * 2_000_000),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
    ],
    ids=["refused", "text", "list", "types", "endless", "redirect"],
)
async def test_whatever_a_pod_answers_nothing_happens(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    ctx, seen, report = await asked(monkeypatch, answer())
    assert len(seen) == 1
    assert report is None
    assert ctx.queue.depth == 0


async def test_numbers_that_json_has_no_word_for_are_left_out() -> None:
    report = read_report(
        {"attempt": 1, "progress": {"step": 1, "metrics": {"loss": float("nan"), "lr": 0.1}}}
    )
    assert report.progress == {"step": 1, "metrics": {"lr": 0.1}}
