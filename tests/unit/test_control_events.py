"""Events: said once, in words, and never waited for."""

import asyncio
import contextlib
from typing import Any

import pytest
from support.control_fake import Clock, FakeKube, job_body

from ftjob.api.job import Job, parse_job
from ftjob.control.observability.events import BACKLOG, Events
from ftjob.kube.errors import ForbiddenError
from ftjob.models.status import Condition, ConditionType, JobStatus, Phase
from ftjob.plan.plan import Plan, Step


def job(**status: Any) -> Job:
    found = parse_job(job_body(status=status))
    assert isinstance(found, Job)
    return found


def status(phase: Phase, kind: ConditionType, reason: str, message: str) -> JobStatus:
    condition = Condition(
        type=kind, status="True", reason=reason, message=message, last_transition_time="2026-01-01T00:00:00Z"
    )
    return JobStatus(phase=phase, conditions=[condition])


async def posted(events: Events, kube: FakeKube) -> list[dict[str, Any]]:
    task = asyncio.create_task(events.run())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return [body for (kind, _, _), body in kube.objects.items() if kind == "Event"]


async def test_a_change_of_phase_is_told_with_its_conditions_words() -> None:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    failed = status(Phase.FAILED, ConditionType.FAILED, "OOMKilled", "worker 1 ran out of memory")
    events.status_written(job(phase="Running"), failed, Plan(Step.FAIL))
    (event,) = await posted(events, kube)
    assert (event["type"], event["reason"], event["note"]) == (
        "Warning",
        "OOMKilled",
        "worker 1 ran out of memory",
    )
    assert event["regarding"]["uid"] == "job-1"
    assert event["metadata"]["namespace"] == "default"


async def test_progress_is_no_event() -> None:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    running = status(Phase.RUNNING, ConditionType.RUNNING, "AllWorkersRun", "2 workers run")
    events.status_written(job(phase="Running"), running, Plan(Step.CONTINUE))
    assert await posted(events, kube) == []


async def test_a_watchdog_without_steps_is_an_event_once() -> None:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    idle = status(Phase.RUNNING, ConditionType.RUNNING, "NoStepsSeen", "all workers run; but no steps")
    events.status_written(job(phase="Running"), idle, Plan(Step.CONTINUE))
    events.status_written(job(**idle.to_wire()), idle, Plan(Step.CONTINUE))
    (event,) = await posted(events, kube)
    assert (event["type"], event["reason"], event["note"]) == (
        "Warning",
        "NoStepsSeen",
        "all workers run; but no steps",
    )


async def test_a_new_reason_to_wait_is_told_once_in_ten_minutes() -> None:
    kube, clock = FakeKube(), Clock()
    events = Events(kube, "operator-1", clock=clock)
    decision = Plan(Step.WAIT, reason="QuotaExceeded", message="exceeded quota: few")
    for moment in (0.0, 1.0, 2.0, 3.0, 598.0, 599.0, 600.0):
        clock.now = moment
        events.status_written(job(phase="Pending"), JobStatus(phase=Phase.PENDING), decision)
    assert len(await posted(events, kube)) == 2


@pytest.mark.parametrize("letter", ["x", "é", "漢", "😀"])
async def test_events_are_cut_by_bytes(letter: str) -> None:
    kube = FakeKube()
    events = Events(kube, letter * 253)
    events.warn(job(), letter * 500, letter * 5000)
    (event,) = await posted(events, kube)
    limits = {"note": 1024, "reason": 128, "reportingInstance": 128}
    assert all(limit - 4 < len(event[name].encode()) <= limit for name, limit in limits.items())
    assert all(event[name].endswith(f"{letter}…") for name in limits)


async def test_events_are_text() -> None:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    events.warn(job(), "Odd", "a \x1b[31mred\u202e pod\x00 of\n two lines")
    (event,) = await posted(events, kube)
    assert event["note"] == "a red pod of  two lines"


async def test_a_refused_event_stops_nothing_and_a_full_backlog_drops() -> None:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    for number in range(BACKLOG + 10):
        events.warn(job(), "Odd", str(number))
    create = kube.create
    refused = 0
    last = asyncio.Event()

    async def refuse_first(manifest: dict[str, Any]) -> dict[str, Any]:
        nonlocal refused
        if not refused:
            refused += 1
            raise ForbiddenError(403, "Forbidden", "no")
        if manifest["note"] == str(BACKLOG - 1):
            last.set()
        return await create(manifest)

    kube.create = refuse_first  # type: ignore[method-assign]
    task = asyncio.create_task(events.run())
    await last.wait()
    await asyncio.sleep(0)
    task.cancel()
    assert refused == 1
    assert len(kube.objects) == BACKLOG - 1


async def test_a_success_in_spite_of_an_exception_is_told_with_a_warning() -> None:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    succeeded = status(Phase.SUCCEEDED, ConditionType.SUCCEEDED, "Succeeded", "all workers have succeeded")
    text = "rank 0 ended with code 0 after an uncaught exception: ValueError: x"
    plan = Plan(Step.SUCCEED, reason="ExceptionSurvived", message=text)
    events.status_written(job(phase="Running"), succeeded, plan)
    found = [(event["type"], event["reason"], event["note"]) for event in await posted(events, kube)]
    assert found == [
        ("Normal", "Succeeded", "all workers have succeeded"),
        ("Warning", "ExceptionSurvived", text),
    ]


def slow(*ranks: str, confidence: str = "High", share: float = 0.25) -> JobStatus:
    findings = [
        {
            "kind": "Straggler",
            "ranks": rank,
            "confidence": confidence,
            "text": f"straggler: rank {rank}",
            "costShare": share,
        }
        for rank in ranks
    ]
    profile = {"verdict": findings[0]["text"] if findings else "no problem found", "findings": findings}
    return JobStatus.model_validate({"phase": "Running", "profile": profile})


async def told(*statuses: JobStatus) -> list[tuple[str, str, str]]:
    kube = FakeKube()
    events = Events(kube, "operator-1")
    for old, new in zip((JobStatus(phase=Phase.RUNNING), *statuses), statuses, strict=False):
        events.status_written(job(**old.to_wire()), new, Plan(Step.CONTINUE))
    return [(event["type"], event["reason"], event["note"]) for event in await posted(events, kube)]


async def test_a_slow_job_is_told_once_for_each_finding_that_is_sure_and_when_it_is_over() -> None:
    assert await told(slow(), slow("1"), slow("1", share=0.4), slow("1", "2"), slow()) == [
        ("Warning", "Slow", "straggler: rank 1"),
        ("Warning", "Slow", "straggler: rank 2"),
        ("Normal", "SlowEnded", "no problem found"),
    ]


async def test_a_finding_that_is_not_sure_is_no_event() -> None:
    assert await told(slow("1", confidence="Medium"), slow()) == []


@pytest.mark.parametrize(
    ("labels", "code", "warns"),
    [
        ({"kueue.x-k8s.io/queue-name": "team"}, None, True),
        ({}, None, False),
        # What `submit --code` makes is suspended until its code is there.
        ({"kueue.x-k8s.io/queue-name": "team"}, {"configMap": "code", "sha256": "0" * 64}, False),
    ],
)
async def test_a_job_that_is_made_suspended_for_kueue_gets_a_warning(
    labels: dict[str, str], code: dict[str, str] | None, warns: bool
) -> None:
    body = job_body()
    body["metadata"]["labels"] = labels
    body["spec"] |= {"suspend": True} | ({"code": code} if code is not None else {})
    made = parse_job(body)
    kube = FakeKube()
    events = Events(kube, "operator-1")
    waits = status(Phase.SUSPENDED, ConditionType.SUSPENDED, "Suspended", "spec.suspend is true")
    events.status_written(made, waits, Plan(Step.SUSPEND))
    found = [(event["type"], event["reason"]) for event in await posted(events, kube)]
    assert found == [("Normal", "Suspended"), *([("Warning", "NotQueued")] if warns else [])]
