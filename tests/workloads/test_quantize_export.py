"""Quantized, pruned and exported models: each is what it was when it was saved, and as good as the first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.quantize_export")
SMALL = ("--smoke", "--epochs", 1, "--hidden", 32, "--min-accuracy", 0)
MODELS = {"float.pt2", "float.ts", "int8.pt2", "int8-eager.ts", "pruned.pt2", "pruned-int8.pt2"}
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing torch."""
    folder = tmp_path_factory.mktemp("quantize_export")
    stopping = (HERE / "sigterm_in_part.py", "quantize_export", "pruned")
    return {
        "full": start(folder / "full", *MODULE, "--smoke"),
        "uncalibrated": start(folder / "uncalibrated", HERE / "quantize_without_calibration.py", *SMALL),
        "stopped": start(folder / "resumed", *stopping, *SMALL, "--max-loss", 100),
    }


@pytest.fixture(scope="module")
def full(programs: dict[str, Program]) -> Program:
    return programs["full"].finish()


def test_the_model_is_large_and_has_learned(full: Program) -> None:
    assert full.result()["trained"]["accuracy"] >= 0.94
    assert full.result()["fresh process"]["float.pt2"]["bytes"] >= 5_000_000


def test_each_file_gives_the_same_outputs_in_a_fresh_process(full: Program) -> None:
    found = full.result()["fresh process"]
    assert set(found) == MODELS
    assert {name for name, row in found.items() if row["difference"] > TOLERANCE} == set()
    for name, row in found.items():
        assert row["bytes"] == (full.folder / "results" / "models" / name).stat().st_size
        assert row["milliseconds"] > 0


def test_accuracy_falls_by_one_point_at_most(full: Program) -> None:
    found = full.result()["fresh process"]
    assert min(row["accuracy"] for row in found.values()) >= found["float.pt2"]["accuracy"] - 0.01


def test_quantized_and_pruned_models_are_smaller(full: Program) -> None:
    size = {name: row["bytes"] for name, row in full.result()["fresh process"].items()}
    assert size["int8.pt2"] < size["float.pt2"] / 3
    assert size["int8-eager.ts"] < size["float.ts"] / 3
    assert size["pruned.pt2"] < size["float.pt2"] * 0.6
    assert size["pruned-int8.pt2"] < size["int8.pt2"] * 0.65
    assert full.result()["pruned"] == {"units": 384, "of": 768}


def test_the_table_shows_every_model(full: Program) -> None:
    lines = full.output().splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.split()[:1] and line.split()[0] in MODELS}
    assert set(rows) == MODELS
    for name, row in full.result()["fresh process"].items():
        assert float(rows[name][1]) == pytest.approx(row["bytes"] / 1e6, abs=0.006)
        assert float(rows[name][3]) == pytest.approx(row["milliseconds"], abs=0.0006)


def test_without_calibration_it_fails(programs: dict[str, Program]) -> None:
    uncalibrated = programs["uncalibrated"].finish(exit_code=1)
    assert "int8.pt2: test accuracy fell by" in uncalibrated.output()
    assert "--max-loss is 1.0" in uncalibrated.output()


def test_after_sigterm_it_goes_on_and_a_file_that_is_another_model_is_found_out(
    programs: dict[str, Program], start: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert "stopped after pruned, 5 of 6 parts are done" in stopped.output()
    assert not (stopped.folder / "results" / "result-rank-00000.json").exists()

    models = stopped.folder / "results" / "models"
    models.joinpath("int8.pt2").rename(models / "kept")
    shutil.copy(models / "float.pt2", models / "int8.pt2")
    second = start(stopped.folder, *MODULE, *SMALL, "--max-loss", 100, name="second").finish(exit_code=1)
    assert "int8.pt2 gives other outputs in a fresh process" in second.output()

    models.joinpath("kept").replace(models / "int8.pt2")
    third = start(stopped.folder, *MODULE, *SMALL, "--max-loss", 100, name="third").finish()
    assert third.result()["resumed"] == ["epoch 1", "trained", "float", "int8", "pruned"]
    assert "epoch 1: done before" in third.output()
