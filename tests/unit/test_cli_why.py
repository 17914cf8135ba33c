"""`ftjob why`: of a folder, of a job in the cluster by kubectl, and of what is neither."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ftjob.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

FINDING = {
    "kind": "Straggler",
    "text": "straggler: rank 1 costs 47 % of each step",
    "confidence": "High",
    "costShare": 0.465,
    "ranks": "1",
    "evidence": ["own 63.4 ms, others 32.4"],
    "next": "raise num_workers",
}
PROFILE = {
    "verdict": FINDING["text"],
    "verdictTime": "2026-01-01T00:00:00Z",
    "findings": [FINDING, {**FINDING, "text": "input-bound: 31 %", "confidence": "Medium"}],
}
RUNNING = {"phase": "Running", "runningTime": "2026-01-01T00:00:00Z", "progress": {"step": 20}}


def body(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {"name": "digits"},
        "spec": spec,
        "status": status or {},
    }


def outputs(folder: Path, job: Any) -> Path:
    path = folder / "ftjob-outputs" / "digits"
    path.mkdir(parents=True)
    (path / "job.yaml").write_text(job if isinstance(job, str) else yaml.safe_dump(job))
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kubectl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "bin" / "kubectl"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


@pytest.mark.parametrize("target", ["digits", "ftjob-outputs/digits"])
def test_a_folder_answers_with_verdict_evidence_and_the_next_step(
    here: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    path = outputs(here, body({**RUNNING, "profile": PROFILE}))
    (path / "vitals").mkdir()
    for rank, own in enumerate((32.0, 63.0)):
        line = {"rank": rank, "first": 1, "stepMs": [68.0, 70.0, 71.0], "ownMs": [own, own, own]}
        lines = [{"rank": rank, "first": 0}, line]
        text = "".join(json.dumps(each) + "\n" for each in lines)
        (path / "vitals" / f"rank-{rank:05d}.jsonl").write_text(text + '{"rank": 1, "fir')
    (path / "vitals" / "rank-00001.last.json").write_text("{}")
    assert main(["why", target]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "digits: Running, step 20\n"
        "straggler: rank 1 costs 47 % of each step\n"
        "  so since 2026-01-01T00:00:00Z, "
    )
    assert (
        "  high confidence\n"
        "  - own 63.4 ms, others 32.4\n"
        "  next: raise num_workers\n"
        "also input-bound: 31 %\n"
        "  medium confidence\n"
    ) in shown
    assert shown.endswith(
        "RANK      STEP     INPUT       OWN   BLOCKED   ms, median of the last block\n"
        "   0      68.0         -      32.0         -\n"
        "   1      68.0         -      63.0         -\n"
    )


def test_programs_get_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs(here, body({**RUNNING, "profile": PROFILE}))
    assert main(["why", "digits", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["job"], said["phase"], said["verdict"]) == ("digits", "Running", PROFILE["verdict"])
    assert said["findings"][0] == FINDING
    assert said["why"] is None


@pytest.mark.parametrize(
    ("status", "spec", "why"),
    [
        (RUNNING, {"profiling": {"mode": "Off"}}, "spec.profiling.mode is Off"),
        ({}, {}, "not all workers run"),
        ({**RUNNING, "progress": {}}, {}, "no step was seen"),
        (RUNNING, {}, "two blocks of steps"),
        ({**RUNNING, "phase": "Succeeded"}, {}, "the job ended before"),
    ],
)
def test_where_there_is_no_verdict_it_says_why(
    here: Path, capsys: pytest.CaptureFixture[str], status: dict[str, Any], spec: dict[str, Any], why: str
) -> None:
    outputs(here, body(status, **spec))
    assert main(["why", "digits"]) == 0
    assert why in capsys.readouterr().out


def test_a_failed_job_says_who_failed_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failure = {"rank": 3, "reason": "Exception", "exitCode": 1, "message": "ValueError: bad"}
    outputs(here, body({"phase": "Failed", "failure": failure}))
    assert main(["why", "digits"]) == 0
    assert "rank 3 failed: Exception, exit code 1\n  ValueError: bad\n" in capsys.readouterr().out


def test_a_job_in_the_cluster_is_read_by_kubectl(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs(here, body())
    (here / "answer.json").write_text(json.dumps(body({**RUNNING, "profile": PROFILE})))
    kubectl(here, monkeypatch, f'echo "$@" > {here}/asked; cat {here}/answer.json')
    assert main(["why", "digits", "-n", "team"]) == 0
    asked = (here / "asked").read_text()
    assert asked == "get frameworktrainingjobs.ftjob.dev digits -o json -n team\n"
    assert "straggler: rank 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "script", "told"),
    [
        ("nix", 'echo "Error from server (NotFound): \\"nix\\" not found" >&2; exit 1', "(NotFound)"),
        ("nix", "exit 1", "kubectl failed"),
        ("nix", "echo no json", "no JSON"),
        ("nix", 'echo \'{"kind": "Pod"}\'', "holds no FrameworkTrainingJob"),
        ("./nix", "", "there is no such folder"),
        ("bin", "", "there is no job.yaml in it"),
    ],
)
def test_what_is_no_job_is_refused_by_name(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    script: str,
    told: str,
) -> None:
    kubectl(here, monkeypatch, script)
    assert main(["why", target]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert target in said.err
    assert said.out == ""


def test_without_kubectl_it_says_what_is_missing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(here))
    assert main(["why", "digits"]) == 2
    assert "kubectl is needed: install it, or name a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("{", "can't be read"),
        ("- 1", "holds no FrameworkTrainingJob"),
        (yaml.safe_dump(body({"phase": "Odd"})), "status.phase"),
        (yaml.safe_dump(body({"profile": {"findings": [{"ranks": "x"}]}})), "status.profile.findings.0"),
    ],
)
def test_a_job_file_that_is_none_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], job: str, told: str
) -> None:
    outputs(here, job)
    assert main(["why", "digits"]) == 2
    assert told in capsys.readouterr().err


def test_what_strangers_have_written_is_shown_as_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = outputs(here, body({**RUNNING, "profile": {"verdict": "\x1b[31mred\x1b[0m"}}))
    (path / "vitals").mkdir()
    (path / "vitals" / "rank-00000.jsonl").symlink_to("/etc/passwd")
    line = {"rank": 1, "first": 1, "stepMs": ["\x1b[31m"]}
    (path / "vitals" / "rank-00001.jsonl").write_text(json.dumps(line))
    assert main(["why", "digits"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "red\n" in shown
