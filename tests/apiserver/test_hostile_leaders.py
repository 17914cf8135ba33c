"""Leaders that say what no agent says: they cost the operator no more than others, and their jobs end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, pods_run, running_kubelet, running_operator
from support.hostile_leaders import RUNNING, Leaders, running_leaders

from ftjob_protocol.failures import Failure, FailureClass
from ftjob_protocol.leader_state import LeaderState

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

RECONCILERS = 16
PROFILED = {"outputs": {}, "profiling": {"mode": "Scheduled"}}


def is_running(space: Namespace, name: str) -> bool:
    return pods_run(space.job(name))


@pytest.mark.parametrize(
    "said",
    [
        {"captures": [{"id": f"x{number}", "ranks": [0], "expected": 1} for number in range(60_000)]},
        {"captures": {f"x{number}": "0" for number in range(60_000)}},
        {"captures": [{"id": "s0", "ranks": 5}]},
        {"captures": {"s0": [[1]]}},
        {"progress": 7},
        b"[" * 60_000,
        b"\xff" * 60_000,
    ],
    ids=["captures of before", "captures", "a number", "lists", "types", "levels", "bytes"],
)
def test_a_hostile_answer_is_refused_and_its_job_and_others_go_on(
    server: ApiServer, space: Namespace, tmp_path: Path, said: Any
) -> None:
    answer = said if isinstance(said, bytes) else {**RUNNING, **said}
    with running_kubelet(server, space.name) as kubelet:
        made = space.submit("hostile", workers=1, **PROFILED)
        leaders = Leaders(lambda _: answer)
        with (
            running_leaders([made["metadata"]["uid"]], leaders),
            running_operator(server, tmp_path, namespace=space.name) as operator,
        ):
            leaders.await_tokens(1, space.list)
            space.await_pods("hostile")
            leaders.await_answers(3)
            space.submit("good")
            space.await_pods("good")
            kubelet.finish("hostile-worker-0-0")
            ended = space.await_phase("Succeeded", "hostile")
            assert is_running(space, "good")
            assert "ftjob_reconcile_errors_total 0.0" in operator.get("/metrics")[1]
    assert [each["phase"] for each in ended["status"]["profile"]["captures"]] == ["NotReached"]
    refused = [event for event in space.list("events") if event["reason"] == "AnswerRefused"]
    assert {
        event["regarding" if "regarding" in event else "involvedObject"]["name"] for event in refused
    } == {"hostile"}


def test_answers_that_alternate_are_written_once_a_second_at_most(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    def alternate(number: int) -> dict[str, Any]:
        odd = number % 2
        return {**RUNNING, "version": number, "captures": {"s0": "0" if odd else ""}, "watchdog": "why" * odd}

    def writes() -> int:
        return server.writes(space.name).count(("frameworktrainingjobs", "hostile"))

    with running_kubelet(server, space.name) as kubelet:
        made = space.submit("hostile", workers=1, **PROFILED)
        leaders = Leaders(alternate)
        with (
            running_leaders([made["metadata"]["uid"]], leaders),
            running_operator(server, tmp_path, namespace=space.name),
        ):
            leaders.await_tokens(1, space.list)
            space.await_pods("hostile")
            leaders.await_answers(2)
            before, began = writes(), time.monotonic()
            leaders.await_answers(40)
            written, seconds = writes() - before, time.monotonic() - began
            kubelet.finish()
            space.await_phase("Succeeded", "hostile")
    assert 1 < written <= seconds + 2  # how many, not how soon


def test_orders_that_are_never_answered_hold_up_nobody_else(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    failure = Failure(FailureClass.SIGNAL, "rank 0 was killed", 0, 1, "SIGKILL", 137)
    halted = LeaderState(0, "Halted", None, failure=failure).as_json()
    names = [f"hostile-{number}" for number in range(100)]
    with running_kubelet(server, space.name) as kubelet:
        made = [space.submit(name, workers=1, restart={"limit": 1, "retryExitCodes": "3"}) for name in names]
        leaders = Leaders(lambda _: halted, hang_on_orders=True)
        with (
            running_leaders([job["metadata"]["uid"] for job in made], leaders),
            running_operator(server, tmp_path, namespace=space.name),
        ):
            leaders.await_tokens(len(names), space.list)
            leaders.await_open_orders(2 * RECONCILERS)
            space.submit("good")
            space.await_pods("good")
            assert leaders.open_orders > 0
            kubelet.finish("*", 137)
            for name in names:
                space.await_phase("Failed", name)
