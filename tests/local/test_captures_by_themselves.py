"""Captures that nobody asks for: of programs whose steps, or what is in them, can't be seen from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from support.agent_runs import wait_for
from support.hook_env import PROGRAMS
from support.local_run import plain_job, start

from ftjob_agent.star.captures.automatic import BLIND, STEPLESS

if TYPE_CHECKING:
    from pathlib import Path


def captures_of(outputs: Path) -> list[dict[str, Any]]:
    path = outputs / "job.yaml"
    status = yaml.safe_load(path.read_text()).get("status", {}) if path.exists() else {}
    found: list[dict[str, Any]] = status.get("profile", {}).get("captures", [])
    return found


def test_a_program_on_jax_is_captured_once_and_has_a_report(tmp_path: Path) -> None:
    go, outputs = tmp_path / "go", tmp_path / "out"
    go.touch()
    command = ["python3", str(PROGRAMS / "capture_one.py"), "jax", str(go)]
    job = plain_job("", command=command, args=[], env=[{"name": "JAX_PLATFORMS", "value": "cpu"}])
    job["spec"]["strategy"] = "JAX"
    process = start(job, tmp_path, "--quiet")
    try:
        report = outputs / "captures" / "auto-0-0" / "report.html"
        wait_for(lambda: report.exists() or process.poll() is not None, "the capture's report", 180)
    finally:
        go.unlink()
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, out + errors
    (taken,) = captures_of(outputs)
    assert (taken["id"], taken["phase"], taken["ranks"]) == ("auto-0-0", "Ready", "1/1")
    assert taken["reason"] == f"by itself: {STEPLESS}"
    assert report.exists()


def test_steps_that_hold_their_exchange_are_captured_where_no_rank_has_the_profiler_itself(
    tmp_path: Path,
) -> None:
    go, outputs = tmp_path / "go", tmp_path / "out"
    go.touch()
    command = ["python3", str(PROGRAMS / "capture_tensorflow.py"), str(go)]
    quiet = [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "3"}]
    job = plain_job("", workers=2, command=command, args=[], env=quiet)
    job["spec"]["strategy"] = "MultiWorkerMirrored"
    process = start(job, tmp_path, "--quiet")

    def is_reported() -> bool:
        return (outputs / "captures" / "auto-0-0" / "report.html").exists() or process.poll() is not None

    try:
        wait_for(is_reported, "the capture's report", 300)
    finally:
        go.unlink()
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, out + errors
    (taken,) = captures_of(outputs)
    assert (taken["id"], taken["phase"], taken["ranks"]) == ("auto-0-0", "Partial", "1/2")
    assert taken["reason"] == f"by itself: {BLIND}; rank 0: the script uses the profiler itself"
    assert list((outputs / "own").glob("plugins/profile/*/*.xplane.pb")), "the script's own profile"
    raw = outputs / "captures" / "auto-0-0" / "raw"
    assert [path.name for path in raw.iterdir()] == ["rank-00001"]
    assert json.loads((raw / "rank-00001" / "done.json").read_text())["firstStep"] > 0
