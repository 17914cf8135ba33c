"""Captures that nobody asks for: of programs whose steps can't be seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from support.agent_runs import wait_for
from support.hook_env import PROGRAMS
from support.local_run import plain_job, start

from ftjob_agent.star.captures.automatic import STEPLESS

if TYPE_CHECKING:
    from pathlib import Path


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
    captures: list[dict[str, Any]] = yaml.safe_load((outputs / "job.yaml").read_text())["status"]["profile"][
        "captures"
    ]
    (taken,) = captures
    assert (taken["id"], taken["phase"], taken["ranks"]) == ("auto-0-0", "Ready", "1/1")
    assert taken["reason"] == f"by itself: {STEPLESS}"
    assert report.exists()
