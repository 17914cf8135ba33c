"""Reports beside and after a run, and what a run does with an earlier one's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import yaml
from support.traces import Planned, write_capture

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
