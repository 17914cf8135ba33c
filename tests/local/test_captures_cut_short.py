"""Captures in the middle of which something is killed: the job goes on, and status says what is missing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.agent_runs import wait_for
from support.local_run import plain_job, start

from ftjob_protocol import files

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(600)

# Of JAX, which is imported in less time than torch, and each rank by itself: one that had others would fail
# with them, and so end by two ways at once.
PROGRAM = """
import os, time
import jax
rank, go = int(os.environ["FTJOB_RANK"]), os.path.join(os.environ["FTJOB_OUTPUTS"], "go")
if rank == 1 and os.environ["FTJOB_ATTEMPT"] == "3":
    def refuse(*_args, **_more):
        raise RuntimeError("no room for the profiler")
    jax.profiler.start_trace = refuse
double = jax.jit(lambda x: x + x)
while os.path.exists(go):
    double(1.0).block_until_ready()
    time.sleep(0.1)
"""
ENDED = {"Ready", "Partial", "Failed", "Refused"}


class Run:
    """A run of two workers, whose processes can be killed."""

    def __init__(self, folder: Path) -> None:
        self.outputs = folder / "out"
        self.outputs.mkdir()
        (self.outputs / "go").touch()
        job = plain_job(PROGRAM, workers=2, env=[{"name": "JAX_PLATFORMS", "value": "cpu"}])
        job["spec"]["restart"] = {"limit": 3, "backoffSeconds": 0}
        self.process: subprocess.Popen[str] = start(job, folder, "--quiet")
        self._status: dict[str, Any] = {}
        self._read_ns = 0

    def status(self) -> dict[str, Any]:
        path = self.outputs / "job.yaml"
        time_ns = path.stat().st_mtime_ns if path.exists() else 0
        if time_ns != self._read_ns:  # to parse it costs more than all else here
            self._read_ns, self._status = time_ns, yaml.safe_load(path.read_text()).get("status", {})
        return self._status

    def captures(self) -> dict[str, dict[str, Any]]:
        return {entry["id"]: entry for entry in self.status().get("profile", {}).get("captures", [])}

    def wait_until_running(self, attempt: int) -> None:
        """Wait until both ranks of an attempt have compiled."""

        def runs() -> bool:
            status = self.status()
            if (status.get("attempt", 0), status.get("phase")) != (attempt, "Running"):
                return False
            folders = [Path(_environ(self.agent(index))["FTJOB_RUN_DIR"]) for index in range(2)]
            names = [files.rank_name(rank) for rank in range(2)]
            return all(
                (folder / name / files.COMPILED).exists() for folder, name in zip(folders, names, strict=True)
            )

        wait_for(runs, f"attempt {attempt}", 150)

    def order(self, *captures: str, **order: Any) -> None:
        """Ask for captures as `ftjob profile` does."""
        for capture in captures:
            folder = self.outputs / "captures" / capture
            folder.mkdir(parents=True)
            (folder / "request.json").write_text(json.dumps({"id": capture, **order}))

    def wait_for_capture(self, capture: str, phases: set[str]) -> dict[str, Any]:
        entry: dict[str, Any] = wait_for(
            lambda: (found := self.captures().get(capture, {})).get("phase") in phases and found,
            f"{capture} to be {phases}",
            150,
        )
        return entry

    def agent(self, index: int) -> int:
        """Return the process of a worker's agent."""
        for pid in _children(self.process.pid):
            config = _environ(pid).get("FTJOB_AGENT_CONFIG")
            if config and json.loads(config)["index"] == index:
                return pid
        raise AssertionError(f"there is no agent {index}")

    def rank(self, index: int) -> int:
        """Return the rank of a worker."""
        [pid] = [pid for pid in _children(self.agent(index)) if "FTJOB_RANK" in _environ(pid)]
        return pid


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _environ(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_whoever_is_killed_in_a_capture_the_job_goes_on_and_the_next_capture_is_whole(tmp_path: Path) -> None:
    run = Run(tmp_path)
    try:
        victims: list[Callable[[], int]] = [
            lambda: run.rank(1),
            lambda: run.agent(1),
            lambda: run.agent(0),
        ]
        for attempt, victim in enumerate(victims):
            run.wait_until_running(attempt)
            run.order(f"cut{attempt}", seconds=60)
            run.wait_for_capture(f"cut{attempt}", {"Capturing"})
            os.kill(victim(), signal.SIGKILL)
            run.wait_for_capture(f"cut{attempt}", ENDED)
        run.wait_until_running(3)
        run.order("one", "other", seconds=0.5)  # at once
        for capture in ("one", "other"):
            run.wait_for_capture(capture, ENDED)
        assert {run.captures()[name]["phase"] for name in ("one", "other")} == {"Partial", "Refused"}
    finally:
        (run.outputs / "go").unlink()
        out, errors = run.process.communicate(timeout=120)
    assert run.process.returncode == 0, out + errors
    assert run.status()["restarts"]["failures"] == 3
    ended = run.captures()
    assert ended["cut0"]["reason"] == "ranks 0-1: the rank has ended"
    assert "worker 1 (pod job-worker-0-1" in ended["cut1"]["reason"]
    assert "worker 0 (pod job-worker-2-0" in ended["cut2"]["reason"]
    taken = next(ended[name] for name in ("one", "other") if ended[name]["phase"] == "Partial")
    assert (taken["ranks"], taken["path"]) == ("1/2", f"captures/{taken['id']}")
    assert taken["reason"] == "rank 1: RuntimeError('no room for the profiler')"
    assert (run.outputs / taken["path"] / "report.html").exists()
