"""Reports beside and after a run, and what a run does with an earlier one's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from support.traces import Planned, write_capture
from support.volumes import volume

from ftjob.insight.beside import Collector
from ftjob.local.outputs import OutputsFolder
from ftjob.models.names import KIND

if TYPE_CHECKING:
    from pathlib import Path

PLANNED = Planned(operators=4, steps=3)
UID = "7d0b2a57-2f2c-4b7d-9a53-0d6f1b1c3f11"


def test_a_capture_is_reported_on_while_the_job_runs_and_the_job_at_its_end(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, PLANNED, "s0")
    collector = Collector(tmp_path)
    while not (capture / "report.html").exists():
        assert collector.look(["s0"]) == ""
        time.sleep(0.05)
    first = (capture / "report.html").stat().st_mtime_ns
    later = write_capture(tmp_path, PLANNED, "s1")
    assert collector.finish(["s0", "s1"]) == []
    assert (capture / "report.html").stat().st_mtime_ns == first
    assert (later / "report.html").exists()
    assert "straggler: rank 2" in (tmp_path / "report.html").read_text()


def test_what_goes_wrong_is_said_and_a_run_without_anything_has_no_report(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    assert collector.finish([]) == []
    assert list(tmp_path.iterdir()) == []
    (said,) = collector.finish(["s7"])
    assert said == "no report of captures/s7: there is no capture s7 (there are: none)"


def test_a_child_that_is_killed_costs_its_report_alone(tmp_path: Path) -> None:
    for name in ("s0", "s1"):
        write_capture(tmp_path, PLANNED, name)
    collector = Collector(tmp_path)
    collector.look(["s0"])
    (pid,) = collector.pids
    os.kill(pid, signal.SIGKILL)
    assert collector.finish(["s0", "s1"]) == ["no report of captures/s0: the collector was killed by SIGKILL"]
    assert not (tmp_path / "captures" / "s0" / "report.html").exists()
    assert (tmp_path / "captures" / "s1" / "report.html").exists()
    assert (tmp_path / "report.html").exists()


def test_a_child_that_was_stopped_begins_anew(tmp_path: Path) -> None:
    capture = write_capture(tmp_path, PLANNED, "s0")
    collector = Collector(tmp_path)
    collector.look(["s0"])
    assert collector.pids
    collector.stop()
    assert not collector.pids
    assert collector.finish(["s0"]) == []
    assert (capture / "summary.json").exists()


def test_a_new_run_moves_an_earlier_report_but_not_a_file_of_the_scripts(tmp_path: Path) -> None:
    for name, page in (
        ("ours", '<head><meta name="generator" content="ftjob report">'),
        ("theirs", "<p>mine"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "job.yaml").write_text(yaml.safe_dump({"kind": KIND, "metadata": {"uid": UID}}))
        (folder / "report.html").write_text(page)
        with OutputsFolder(folder) as outputs:
            assert outputs.make_room() is not None
            assert not outputs.has_report
        assert (folder / "earlier" / UID / "report.html").exists() == (name == "ours")
        assert (folder / "report.html").exists() == (name == "theirs")


def collector(outputs: Path, *arguments: str, **told: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ftjob.insight", "write", str(outputs), *arguments]
    return subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, check=False)


def test_a_collector_in_the_cluster_writes_down_whose_outputs_they_are(tmp_path: Path) -> None:
    write_capture(tmp_path, PLANNED)
    told = {"kind": KIND, "metadata": {"name": "digits"}, "spec": {"strategy": "Torchrun"}}
    for phase in ("Running", "Succeeded"):
        status = {"phase": phase, "timeline": {"stepping": 9.0}}
        done = collector(tmp_path, FTJOB_REPORTED_JOB=json.dumps({**told, "status": status}))
        assert (done.returncode, done.stderr) == (0, "")
        assert yaml.safe_load((tmp_path / "job.yaml").read_text())["status"]["phase"] == phase
    assert "digits" in (tmp_path / "report.html").read_text()


def test_a_stranger_s_job_yaml_stays_in_the_outputs(tmp_path: Path) -> None:
    write_capture(tmp_path, PLANNED)
    (tmp_path / "job.yaml").write_text("kind: Job\n")
    done = collector(tmp_path, "c7", FTJOB_REPORTED_JOB=json.dumps({"kind": KIND}))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "job.yaml").read_text() == "kind: Job\n"
    assert (tmp_path / "captures" / "c7" / "report.html").exists()


@pytest.mark.parametrize("room", [0, 4, 8])
def test_a_full_volume_costs_the_report_and_leaves_no_halves(tmp_path: Path, room: int) -> None:
    with volume(tmp_path / "volume", "512k") as outputs:
        write_capture(outputs, PLANNED)
        before = {path for path in outputs.rglob("*") if path.is_file()}
        left = os.statvfs(outputs)
        (outputs / "fill").write_bytes(b"x" * (left.f_bavail * left.f_frsize - 1024 * room))
        done = collector(outputs, "c7")
        assert (done.returncode, "No space left on device" in done.stderr) == (1, True), done.stderr
        whole = {"summary.json", "merged.trace.json.gz", "report.html"}
        new = {path for path in outputs.rglob("*") if path.is_file()} - before - {outputs / "fill"}
        assert {path.name for path in new} <= whole
        (outputs / "fill").unlink()
        assert collector(outputs, "c7").returncode == 0
        assert (outputs / "captures" / "c7" / "report.html").exists()
