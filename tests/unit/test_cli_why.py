"""`ftjob why`: of a folder, of a job in the cluster, and of what is neither."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.api_fake import FakeServer, running_fake

from ftjob.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@pytest.fixture
def server(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with running_fake(here) as (fake, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield fake


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
        "digits is Running, step 20\n"
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


JOBS = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs"


def in_cluster(name: str = "digits", **status: Any) -> dict[str, Any]:
    found = body({**RUNNING, "profile": PROFILE, **status})
    found["metadata"] |= {"name": name, "namespace": "team", "uid": "0f0e"}
    return found


def test_options_of_the_cluster_name_a_job_there_whatever_runs_here(
    here: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs(here, body())
    server.objects[f"{JOBS}/digits"] = in_cluster()
    assert main(["why", "digits", "-n", "team"]) == 0
    assert "straggler: rank 1" in capsys.readouterr().out


def test_without_a_name_it_is_the_newest_job(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.objects[JOBS] = {"items": [in_cluster()]}
    server.objects[f"{JOBS}/digits"] = in_cluster()
    assert main(["why", "-n", "team"]) == 0
    out, err = capsys.readouterr()
    assert "straggler: rank 1" in out
    assert "digits (your newest job in team)" in err


def test_a_job_in_the_cluster_is_captured(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.objects[f"{JOBS}/digits"] = in_cluster()
    server.objects[f"{JOBS}/done"] = in_cluster("done", phase="Succeeded")
    assert main(["profile", "digits", "-n", "team", "--steps", "3", "--id", "c7"]) == 0
    assert capsys.readouterr().out == "capture c7\n"
    assert server.asked[-1] == ("PATCH", f"{JOBS}/digits")
    patch = server.written[-1]["metadata"]
    assert patch["uid"] == "0f0e"
    assert json.loads(patch["annotations"]["ftjob.dev/capture"]) == {"id": "c7", "steps": 3}
    assert main(["profile", "done", "-n", "team"]) == 2
    assert "only ranks that run can be captured" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["why", "profile", "report"])
@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        ("nix", 3, 'frameworktrainingjobs "nix" not found; `ftjob list` shows what there is'),
        ("./nix", 2, "there is no such folder"),
    ],
)
def test_what_is_no_job_is_refused_by_name(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    target: str,
    code: int,
    told: str,
) -> None:
    assert main([verb, target]) == code
    said = capsys.readouterr()
    assert told in said.err
    assert target.removeprefix("./") in said.err
    assert said.out == ""


def test_a_folder_without_a_job_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bin").mkdir()
    assert main(["why", "bin"]) == 2
    assert "bin: there is no job.yaml in it" in capsys.readouterr().err


def test_without_a_cluster_it_says_where_it_has_looked(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(here / "nosuch"))
    assert main(["why", "digits"]) == 3
    said = capsys.readouterr().err
    assert "digits is no folder with the outputs of a run, and as a job:" in said
    assert "name a kubeconfig" in said


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
