"""Hybrid vision: what the two models answer together, and what happens to files that are no pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.hybrid_vision")


@pytest.fixture(scope="module")
def program(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Stop it after the first epochs, and go on."""
    folder = tmp_path_factory.mktemp("vision")
    stopping = (HERE / "sigterm_in_part.py", "hybrid_vision", "torch to epoch 8")
    start(folder, *stopping, "--smoke").finish(exit_code=143)
    return start(folder, *MODULE, "--smoke", name="second").finish()


@pytest.fixture(scope="module")
def own(program: Program, start: Callable[..., Program]) -> Program:
    """Give the trained pipeline pictures from elsewhere: it goes on from the checkpoints of `program`."""
    folder = program.folder / "mine"
    (folder / "below").mkdir(parents=True)
    piece = next((program.folder / "checkpoints" / "pieces" / "test" / "brick").iterdir())
    pixels = cv2.imread(str(piece), cv2.IMREAD_COLOR)
    assert pixels is not None
    large = cv2.resize(pixels, (640, 400))
    cv2.imwrite(str(folder / "below" / "large.jpg"), large)
    cv2.imwrite(str(folder / "grey.png"), cv2.cvtColor(large, cv2.COLOR_BGR2GRAY))
    whole = (folder / "below" / "large.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no picture")
    args = (
        "--smoke",
        "--input",
        folder,
        folder / "absent.jpg",
        "--results-dir",
        program.folder / "mine-results",
    )
    return start(program.folder, *MODULE, *args, name="own").finish()


def result(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "result-rank-00000.json").read_text())
    return found


def test_both_models_and_their_mean_recognize_what_they_have_not_seen(program: Program) -> None:
    found = program.result()["classify"]
    assert found["pictures"] == program.result()["pieces"]["test"] >= 200
    assert found["bad"] == []
    assert found["combinedAccuracy"] >= 0.87
    assert found["torchAccuracy"] >= 0.7
    assert found["tensorflowAccuracy"] >= 0.6
    answers = [
        json.loads(line) for line in (program.folder / "results" / "answers.jsonl").read_text().splitlines()
    ]
    assert len(answers) == found["pictures"]
    right = sum(Path(answer["file"]).parent.name == answer["label"] for answer in answers)
    assert right / len(answers) == pytest.approx(found["combinedAccuracy"])
    assert any(answer["torch"] != answer["tensorflow"] for answer in answers), "two models, two opinions"


def test_learned_and_tested_pieces_do_not_overlap(program: Program) -> None:
    pieces = program.folder / "checkpoints" / "pieces"
    learned, tested = (
        {(file.parent.name, file.name) for file in (pieces / part).rglob("*.*")} for part in ("learn", "test")
    )
    assert len(learned) > 2 * len(tested)
    assert not learned & tested
    assert len({label for label, _ in tested}) == 12


def test_files_and_folders_are_read_and_bad_ones_reported(own: Program) -> None:
    folder = own.folder / "mine"
    answers = (own.folder / "mine-results" / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in answers] == [
        str(folder / "below" / "large.jpg"),
        str(folder / "grey.png"),
    ]
    found = result(own.folder / "mine-results")["classify"]
    assert isinstance(found, dict)
    assert {Path(bad["file"]).name: bad["reason"] for bad in found["bad"]} == {
        "absent.jpg": "No such file or directory",
        "empty.png": "empty",
        "half.jpg": "cut short",
        "notes.txt": "no picture that OpenCV can read",
    }
    assert f"{folder / 'half.jpg'}: cut short" in own.output()


def test_the_pipelines_speed_is_measured_by_stage(program: Program) -> None:
    found = program.result()["measure"]
    assert set(found["picturesPerSecond"]) == {"batch 1", "batch 32"}
    for speeds in found["picturesPerSecond"].values():
        assert set(speeds) == {"all", "reading", "torch", "tensorflow"}
        stages = sum(1 / speeds[stage] for stage in ("reading", "torch", "tensorflow"))
        assert stages == pytest.approx(1 / speeds["all"])


def test_sigterm_keeps_what_is_learned_and_the_next_run_goes_on(program: Program) -> None:
    first = (program.folder / "log.txt").read_text()
    assert "torch, epoch 8:" in first
    assert "stopped after torch to epoch 8, 2 of" in first
    assert program.result()["resumed"] == ["pieces", "torch to epoch 8"]
    assert "torch, epoch 16:" in program.output()
    assert "torch, epoch 8:" not in program.output()
