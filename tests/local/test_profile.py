"""`ftjob profile` of a run on this machine: it needs no port, no token and no restart."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.agent_runs import wait_for
from support.hook_env import PROGRAMS
from support.local_run import plain_job, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)


def profile(*words: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ftjob.cli.main", "profile", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def status(outputs: Path) -> dict[str, Any]:
    path = outputs / "job.yaml"
    found: dict[str, Any] = yaml.safe_load(path.read_text())["status"] if path.exists() else {}
    return found


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Those of two torch ranks that train until the tests are over."""
    folder = tmp_path_factory.mktemp("profile")
    go = folder / "go"
    go.touch()
    job = plain_job("", processes=2)
    job["spec"]["strategy"] = "Torchrun"
    [trainer] = job["spec"]["template"]["spec"]["containers"]
    trainer |= {"command": ["python3", str(PROGRAMS / "capture_torch.py"), str(go)], "args": []}
    run = start(job, folder, "--quiet")
    try:
        wait_for(lambda: (status(folder / "out").get("progress") or {}).get("step", 0) > 5, "steps", 150)
        yield folder / "out"
    finally:
        go.unlink()
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    found = {capture["id"]: capture["phase"] for capture in status(folder / "out")["profile"]["captures"]}
    assert found == {"mine": "Ready", "one": "Ready", "third": "Refused"}


def test_a_run_is_captured_as_it_runs_and_the_phases_are_printed(outputs: Path) -> None:
    code, said, errors = profile(outputs, "--steps", 3, "--id", "mine", "--wait")
    assert code == 0, (said, errors)
    first, *phases, place = said.splitlines()
    assert (first, phases[-1], place) == ("capture mine", "Ready 2/2", f"{outputs}/captures/mine")
    raw = outputs / "captures" / "mine" / "raw"
    done = [json.loads(path.read_text()) for path in sorted(raw.glob("rank-*/done.json"))]
    assert {found["lastStep"] - found["firstStep"] for found in done} == {2}
    assert len({found["firstStep"] for found in done}) == 1
    request = json.loads((outputs / "captures" / "mine" / "request.json").read_text())
    assert (request["attempt"], request["window"]["steps"]) == (0, 3)


def test_an_id_is_used_once_and_ranks_that_are_not_there_are_refused(outputs: Path) -> None:
    code, said, errors = profile(outputs, "--id", "one", "--ranks", "1", "--wait")
    assert code == 0, (said, errors)
    code, _, errors = profile(outputs, "--id", "one")
    assert (code, "choose another id" in errors) == (2, True)
    code, said, _ = profile(outputs, "--ranks", "7", "--wait", "--id", "third")
    assert code == 1
    assert "Refused: there are ranks 0 to 1 alone" in said


def test_usage_is_explained(outputs: Path, tmp_path: Path) -> None:
    assert "job.yaml" in profile(tmp_path)[2]
    assert "--ranks is not a list of ranks" in profile(outputs, "--ranks", "x")[2]
    assert "--steps" in profile(outputs, "--steps", 0)[2]
    ended = {"kind": "FrameworkTrainingJob", "metadata": {"name": "it"}, "status": {"phase": "Succeeded"}}
    (tmp_path / "job.yaml").write_text(json.dumps(ended))
    code, _, errors = profile(tmp_path)
    assert (code, "is Succeeded; only ranks that run can be captured" in errors) == (2, True)
