"""Captures on demand of real trainings, by real agents: the same steps on all ranks, without a restart."""

from __future__ import annotations

import gzip
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import agents_in, star_plans, wait_for
from support.hook_env import PROGRAMS
from support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.agent_runs import AgentRun

pytestmark = [pytest.mark.xdist_group("captures"), pytest.mark.timeout(600)]

PROFILING = {
    "mode": "OnDemand",
    "schedule": {"skipFirst": 10, "wait": 5, "warmup": 2, "active": 3, "repeat": 1},
    "ranks": [0],
    "tools": ["Framework", "System"],
    "options": {"shapes": True},
}
ENDED = {"Ready", "Partial", "Failed", "Refused"}


class Job:
    """Two agents with a rank each, whose program runs until `go` is removed."""

    def __init__(self, folder: Path, runs: list[AgentRun], go: Path) -> None:
        self.outputs, self.runs, self._go = folder / "outputs", runs, go

    def order(self, **order: Any) -> tuple[int, dict[str, Any]]:
        status, told = self.runs[0].request("POST", "/v1/capture", json.dumps(order).encode())
        return status, {asked["id"]: asked for asked in told.get("asked", [])}

    def asked(self, capture: str) -> dict[str, Any]:
        told = self.runs[0].progress().get("asked", [])
        return next((asked for asked in told if asked["id"] == capture), {})

    def wait_until_stepping(self) -> None:
        wait_for(lambda: (self.runs[0].progress().get("progress") or {}).get("step", 0) > 5, "steps", 120)

    def wait_until_ended(self, capture: str) -> dict[str, Any]:
        ended: dict[str, Any] = wait_for(
            lambda: (asked := self.asked(capture)).get("phase") in ENDED and asked,
            f"the end of {capture}",
            150,
        )
        return ended

    def raw(self, capture: str, rank: int) -> Path:
        return self.outputs / "captures" / capture / "raw" / f"rank-{rank:05d}"

    def done(self, capture: str, rank: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.raw(capture, rank) / "done.json").read_text())
        return found

    def finish(self) -> list[int]:
        self._go.unlink(missing_ok=True)
        return [run.wait(120) for run in self.runs]


@pytest.fixture(scope="module")
def torch_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("captures")
    go = folder / "go"
    go.touch()
    plans = star_plans(2, 1, outputs=str(folder / "outputs"), keepLogs=True, profiling=PROFILING)
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    for number, config in enumerate(plans):
        config["ranks"][0]["env"] |= {**env, "RANK": str(number), "OMP_NUM_THREADS": "1"}
    with agents_in(folder) as agents:
        command = [sys.executable, str(PROGRAMS / "capture_torch.py"), str(go)]
        job = Job(folder, [agents.start(config, command) for config in plans], go)
        job.wait_until_stepping()
        yield job
        go.unlink(missing_ok=True)


def _steps(job: Job, capture: str, rank: int) -> set[str]:
    (path,) = job.raw(capture, rank).glob("*.pt.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return {event["name"] for event in events if event.get("name", "").startswith("ProfilerStep#")}


def test_all_ranks_capture_the_same_steps_twice_in_a_row_and_a_second_capture_is_refused_meanwhile(
    torch_job: Job,
) -> None:
    for capture in ("c1", "c2"):
        assert torch_job.order(id=capture, steps=4)[1][capture]["phase"] == "Requested"
        status, told = torch_job.order(id=f"{capture}-too")
        assert (status, told[f"{capture}-too"]["phase"]) == (200, "Refused")
        assert f"capture {capture} is under way" in told[f"{capture}-too"]["reason"]
        ended = torch_job.wait_until_ended(capture)
        done = [torch_job.done(capture, rank) for rank in (0, 1)]
        assert (ended["phase"], ended["done"], ended["ranks"]) == ("Ready", 2, 2), ended
        first = done[0]["firstStep"]
        assert [(found["firstStep"], found["lastStep"]) for found in done] == [(first, first + 3)] * 2
        expected = {f"ProfilerStep#{step}" for step in range(first, first + 4)}
        assert [_steps(torch_job, capture, rank) for rank in (0, 1)] == [expected] * 2
        assert all(found["startNs"] < found["endNs"] for found in done)
        request = json.loads((torch_job.outputs / "captures" / capture / "request.json").read_text())
        assert (request["mode"], request["ranks"], request["window"]["steps"]) == ("OnDemand", [0, 1], 4)


def test_one_rank_and_its_stacks_alone(torch_job: Job) -> None:
    torch_job.order(id="c4", seconds=0.5, ranks="1", stacks=True)
    ended = torch_job.wait_until_ended("c4")
    assert (ended["phase"], ended["ranks"]) == ("Ready", 1), ended
    assert not torch_job.raw("c4", 0).exists()
    stacks = (torch_job.raw("c4", 1) / "stacks.txt").read_text()
    assert "MainThread;<module> (" in stacks
    assert "capture_torch.py:" in stacks
    assert all(line.rpartition(" ")[2].isdecimal() for line in stacks.splitlines())


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"id": "../x"}', b'{"id": "c", "steps": 0}', b"{}"])
def test_what_is_no_order_is_refused_and_hurts_nobody(torch_job: Job, body: bytes) -> None:
    status, told = torch_job.runs[0].request("POST", "/v1/capture", body)
    assert status == 400
    assert told["error"]
    assert torch_job.runs[0].request("GET", "/v1/capture")[0] == 405
    assert torch_job.runs[0].progress()["state"] == "Running"


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_other_frameworks_are_captured_as_they_run_with_steps_or_without(
    tmp_path: Path, framework: str
) -> None:
    go = tmp_path / "go"
    go.touch()
    [config] = star_plans(1, 1, outputs=str(tmp_path / "outputs"), keepLogs=True, profiling=PROFILING)
    with agents_in(tmp_path) as agents:
        command = [sys.executable, str(PROGRAMS / "capture_one.py"), framework, str(go)]
        run = agents.start(config, command, env={"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"})
        job = Job(tmp_path, [run], go)
        if framework == "jax":  # whose steps nobody sees
            wait_for((run.folder / "up").exists, "the program's start", 120)
        else:
            job.wait_until_stepping()
        for capture in ("c1", "c2"):
            job.order(id=capture, steps=3)
            ended = job.wait_until_ended(capture)
            assert (ended["phase"], ended["ranks"]) == ("Ready", 1), ended
            done = job.done(capture, 0)
            assert done["files"] == ["rank-00000.xplane.pb"]
            assert (done["lastStep"] - done["firstStep"], done["firstStep"] > 0) == (
                (0, False) if framework == "jax" else (2, True)
            )
            xplane = tmp_path / "outputs" / "plugins" / "profile" / capture / "rank-00000.xplane.pb"
            assert xplane.stat().st_size > 0
        assert job.finish() == [0]


def test_ranks_that_end_in_a_capture_leave_what_there_is_and_the_job_succeeds(torch_job: Job) -> None:
    torch_job.order(id="c5", steps=1000)
    wait_for(lambda: torch_job.asked("c5").get("phase") == "Capturing", "the capture's begin", 120)
    assert torch_job.finish() == [0, 0]
    done = [torch_job.done("c5", rank) for rank in (0, 1)]
    assert [found["partial"] for found in done] == [True, True]
