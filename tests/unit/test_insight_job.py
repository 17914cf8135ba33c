"""The whole job: what its vitals and its status say, and what its report holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.traces import BASE_NS, BEGIN_US, VITALS_S, Planned, write_capture, write_job, write_vitals

from ftjob.insight.diff import compare
from ftjob.insight.outputs import ReportError, report_job, summary_of
from ftjob.insight.page.render import HERE, render
from ftjob.insight.summary import encode

if TYPE_CHECKING:
    from pathlib import Path

PLANNED = Planned(operators=4, steps=5)
MIB = 1 << 20


@pytest.mark.parametrize("blocks", [3, 80])
def test_a_straggler_is_named_from_a_short_and_from_a_long_life(tmp_path: Path, blocks: int) -> None:
    write_job(tmp_path)
    write_vitals(tmp_path, PLANNED, blocks)
    found = summary_of(tmp_path)
    assert found.verdict.text.startswith("straggler: rank 2")
    assert found.findings[found.verdict.findings[0]].ranks == [2]
    assert found.findings[0].cause == "Input"
    assert found.ranks[2].excess_ms == pytest.approx(25, abs=0.3)
    assert found.ranks[2].node == "node-1"
    assert found.curves is not None
    assert found.heat is not None


def test_ranks_that_are_alike_are_not_accused(tmp_path: Path) -> None:
    write_job(tmp_path)
    for blocks in (3, 80):
        write_vitals(tmp_path, replace(PLANNED, slow_rank=None), blocks)
        assert not summary_of(tmp_path).findings


def test_the_verdict_is_the_one_that_the_job_had_while_it_ran(tmp_path: Path) -> None:
    text = "straggler: rank 2 (node gpu-7) costs 25 % of each step\x1b[31m"
    finding = {
        "kind": "Straggler",
        "text": text,
        "ranks": "2",
        "costShare": 0.25,
        "confidence": "High",
        "next": "x",
    }
    odd = [{"kind": "Odd", "text": "odd", "ranks": 7, "costShare": "much", "evidence": {}}, "no finding", {}]
    write_job(tmp_path, profile={"verdict": text, "findings": [finding, *odd]})
    write_vitals(tmp_path, PLANNED, 3)
    found = summary_of(tmp_path)
    assert [(one.kind, one.ranks, one.confidence) for one in found.findings] == [
        ("Straggler", [2], "High"),
        ("Odd", [], "Low"),
    ]
    assert found.verdict.text == "straggler: rank 2 (node gpu-7) costs 25 % of each step"
    assert found.verdict.findings == [0]


def test_the_wall_time_is_divided_once(tmp_path: Path) -> None:
    odd = {"since": "2026-11-29T19:34:21Z", "part": "stepping", "pauses": None, "idle": True, "lost": -3}
    write_job(tmp_path, timeline={"queued": 40, "stepping": 100, "input": 10, "blocked": 30, **odd})
    found = {phase.name: phase.seconds for phase in summary_of(tmp_path).timeline}
    assert found == {"queued": 40, "stepping": 60, "input": 10, "blocked": 30}


def test_lines_that_are_damaged_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    write_job(tmp_path)
    write_vitals(tmp_path, PLANNED, 5)
    file = tmp_path / "vitals" / "rank-00001.jsonl"
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace('"rank":1', '"rank":3')  # of another rank
    lines[3] = lines[3].replace('"startS":1790861090', '"startS":1e300')
    file.write_text("\n".join(lines)[:-40])
    found = summary_of(tmp_path)
    assert "3 lines of vitals could not be read" in found.notes
    assert [rank.rank for rank in found.ranks] == [0, 1, 2, 3]


def test_a_day_of_64_ranks_makes_a_report_below_a_mebibyte(tmp_path: Path) -> None:
    write_job(tmp_path)
    write_vitals(tmp_path, replace(PLANNED, ranks=64, slow_rank=40), 900, seconds=96)
    report_job(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert len(page.encode()) < MIB
    assert "straggler: rank 40" in page


def test_the_curve_of_memory_has_its_limit_and_when_it_will_be_reached(tmp_path: Path) -> None:
    write_job(tmp_path)
    write_vitals(tmp_path, PLANNED, 20, growth=10 * MIB, limit=3 << 30)
    found = summary_of(tmp_path)
    assert found.curves is not None
    assert found.curves.limit_bytes == 3 << 30
    left = (3072 - 1024 - 19 * 10) / 10 * 30  # of 10 MiB a block of 30 s
    assert found.curves.limit_time == pytest.approx(VITALS_S + 20 * 30 + left, abs=1)
    assert "a rank may use 3 GiB, reached 93 min later if it goes on growing" in render(found)


@pytest.mark.parametrize(
    ("growth", "limit", "text"),
    [(0, 3 << 30, "a rank may use 3 GiB<"), (10 * MIB, 1 << 45, "GiB<"), (10 * MIB, None, "GiB<")],
)
def test_memory_that_lasts_reaches_no_limit(
    tmp_path: Path, growth: int, limit: int | None, text: str
) -> None:
    write_job(tmp_path)
    write_vitals(tmp_path, PLANNED, 20, growth=growth, limit=limit)
    found = summary_of(tmp_path)
    assert found.curves is not None
    assert (found.curves.limit_bytes, found.curves.limit_time) == (limit, None)
    page = render(found)
    assert text in page
    assert "if it goes on growing</p>" not in page


def test_captures_restarts_and_pauses_are_marked_in_the_jobs_time(tmp_path: Path) -> None:
    write_capture(tmp_path, PLANNED)
    write_vitals(tmp_path, PLANNED, 80)
    file = tmp_path / "vitals" / "rank-00000.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["pauses"] = [[300 + step, 500.0] for step in range(200)]
    for line in lines[60:]:
        line["attempt"] = 1
    file.write_text("\n".join(map(json.dumps, lines)))
    found = summary_of(tmp_path)
    marks = [(mark.kind, mark.text) for mark in found.marks]
    assert len(marks) == 100
    assert marks[-2:] == [("Capture", "c7, steps 412 to 416"), ("Restart", "attempt 1 began")]
    captured = next(mark.time for mark in found.marks if mark.kind == "Capture")
    assert captured == pytest.approx((BASE_NS / 1e9) + BEGIN_US / 1e6, abs=0.01)
    assert found.curves is not None
    assert found.curves.time[0] < captured < found.curves.time[-1]
    assert "Dashed: pause, capture, restart." in render(found)


def test_a_report_of_somebody_else_stays(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "report.html").write_text("<p>my own</p>")
    with pytest.raises(ReportError, match="was not written by ftjob"):
        report_job(tmp_path)
    assert (tmp_path / "report.html").read_text() == "<p>my own</p>"


def test_a_folder_without_a_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no outputs of a job"):
        summary_of(tmp_path)


def test_without_vitals_the_last_capture_speaks_for_the_job(tmp_path: Path) -> None:
    write_capture(tmp_path, PLANNED)
    found = summary_of(tmp_path)
    assert found.capture is not None
    assert found == summary_of(tmp_path / "captures" / "c7")


def test_what_is_vendored_is_what_npm_gives_of_uplot() -> None:
    """Of uplot 1.6.32, whose archive has sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy…."""
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (HERE / "vendor").iterdir()
    }
    assert hashes == {
        "uplot.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uplot.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        "uplot-LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    }


HOSTILE = "</script><img src=x onerror=alert(1)>\u2028{{7*7}}&amp;\"'"


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    write_job(tmp_path, name=HOSTILE)
    write_vitals(tmp_path, PLANNED, 3)
    file = tmp_path / "vitals" / "rank-00002.jsonl"
    file.write_text(file.read_text().replace("train.py:57 load", json.dumps(HOSTILE)[1:-1]))
    found = summary_of(tmp_path)
    assert found.ranks[2].where[1][0] == HOSTILE.replace("\u2028", "")
    page = render(found)
    assert "<img" not in page
    assert page.count("</script>") == 2
    _, _, rest = page.partition('id="data">')
    assert json.loads(rest.partition("</script>")[0]) == json.loads(encode(found))


def test_what_has_changed_is_told_by_part_rank_operator_and_line(tmp_path: Path) -> None:
    for name, planned in (("before", PLANNED), ("after", replace(PLANNED, slow_by=5.0, work=70.0))):
        write_capture(tmp_path / name, planned)
        write_vitals(tmp_path / name, planned, 3)
    before, after = (summary_of(tmp_path / name) for name in ("before", "after"))
    found = compare(before, after)
    changes = {change.name: change for change in found.parts}
    assert changes["step"].by == pytest.approx(-10)
    assert changes["own work"].by == pytest.approx(10)
    assert not changes["input"].matters
    assert {change.name: round(change.by) for change in found.ranks} == {
        "rank 0": 10,
        "rank 1": 10,
        "rank 2": -10,
        "rank 3": 10,
    }
    captures = [summary_of(tmp_path / name / "captures" / "c7") for name in ("before", "after")]
    by = {change.name: change.by for change in compare(*captures).operators}
    assert by["aten::addmm"] == pytest.approx(7)  # milliseconds of a step: 0.7 of what its callers take more
