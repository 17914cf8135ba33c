"""The sample manifests, unchanged, by `ftjob run`: accuracy and folders are those of the cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from support.local_run import run

from ftjob_protocol.captures.order import AUTOMATIC_PREFIX

if TYPE_CHECKING:
    from support.local_run import Ran

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"


@pytest.fixture(scope="module")
def horovod(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Horovod on four ranks, run once for all tests here."""
    return run(SAMPLES / "horovod-digits.yaml", tmp_path_factory.mktemp("horovod"))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Mirrored on two devices, run once for all tests here."""
    return run(SAMPLES / "mirrored-digits.yaml", tmp_path_factory.mktemp("mirrored"))


def result(ran: Ran, rank: int) -> dict[str, object]:
    data: dict[str, object] = json.loads(
        (ran.outputs / "results" / f"result-rank-{rank:05d}.json").read_text()
    )
    return data


def check_layout(ran: Ran, ranks: int) -> None:
    """Compare the outputs with section 6 of docs/agent-protocol.md."""
    for rank in range(ranks):
        name = f"rank-{rank:05d}"
        raw = ran.outputs / "captures" / "s0" / "raw" / name
        done = json.loads((raw / "done.json").read_text())
        assert done["rank"] == rank
        assert all((raw / file).stat().st_size > 0 for file in done["files"]), done
        assert list(raw.glob("*.xplane.pb"))
        assert (ran.outputs / "plugins" / "profile" / "s0" / f"{name}.xplane.pb").stat().st_size > 0
        assert (
            json.loads((ran.outputs / "system" / f"{name}.jsonl").read_text().splitlines()[0])["rssBytes"] > 0
        )
        assert (ran.outputs / "logs" / f"{name}.log").exists()
    assert (ran.outputs / "captures" / "s0" / "request.json").exists()
    assert list((ran.outputs / "checkpoints").iterdir())


def check_status(ran: Ran, sample: str, ranks: int) -> None:
    assert ran.code == 0, ran.stdout[-4000:] + ran.stderr
    assert ran.job["spec"] == yaml.safe_load((SAMPLES / f"{sample}.yaml").read_text())["spec"]
    assert ran.status["phase"] == "Succeeded"
    progress = ran.status["progress"]
    assert progress["step"] == progress["totalSteps"] == result(ran, 0)["steps"]
    asked = [one for one in ran.status["profile"]["captures"] if not one["id"].startswith(AUTOMATIC_PREFIX)]
    assert [capture["ranks"] for capture in asked] == [f"{ranks}/{ranks}"]


def test_horovod_sample_succeeds_with_progress_and_captures(horovod: Ran) -> None:
    check_status(horovod, "horovod-digits", 4)


def test_horovod_sample_reaches_an_accuracy_that_needs_the_exchange(horovod: Ran) -> None:
    # A rank that learns alone has seen three digits of ten at most, and ends at 0.3.
    assert "test_accuracy=0.9" in horovod.log(0)


def test_horovod_sample_leaves_the_outputs_of_the_cluster(horovod: Ran) -> None:
    check_layout(horovod, 4)
    timeline = horovod.outputs / "captures" / "s0" / "raw" / "rank-00000" / "horovod_timeline.json"
    assert timeline.stat().st_size > 0


def test_mirrored_sample_succeeds_with_progress_and_captures(mirrored: Ran) -> None:
    check_status(mirrored, "mirrored-digits", 1)


def test_mirrored_sample_reaches_its_accuracy(mirrored: Ran) -> None:
    assert "test_accuracy=0.9" in mirrored.log(0)


def test_mirrored_sample_leaves_the_outputs_of_the_cluster(mirrored: Ran) -> None:
    check_layout(mirrored, 1)
