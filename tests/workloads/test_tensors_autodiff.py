"""Tensors and automatic differentiation: what the program claims, and that its checks can fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.tensors_autodiff")


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing TensorFlow."""
    folder = tmp_path_factory.mktemp("autodiff")
    stopping = (HERE / "sigterm_in_part.py", "tensors_autodiff", "gradients")
    return {
        "full": start(folder / "full", *MODULE),
        "stopped": start(folder / "stopped", *stopping, "--smoke"),
        "wrong": start(folder / "wrong", HERE / "autodiff_wrong_gradient.py", "--smoke"),
    }


def test_gradients_equal_finite_differences(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()
    assert result["gradients"]["coordinates"] == 200 + 16 + 160 + 10
    assert 0 < result["gradients"]["maxRelativeError"] < 1e-7
    assert result["gradients"]["loss"] > 1
    assert 0 < result["higherOrder"]["hessianError"] < 1e-7
    assert all(0 < error < 1e-7 for error in result["customGradient"]["errors"])


def test_a_gradient_that_is_a_thousandth_too_large_is_found(programs: dict[str, Program]) -> None:
    wrong = programs["wrong"].finish(exit_code=1)
    assert "customGradient: custom gradient against finite differences" in wrong.output()
    assert "is above 1.0e-06" in wrong.output()
    assert not (wrong.folder / "results").exists()


def test_types_round_as_their_widths_say(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()["constants"]
    assert result["rounding"] == {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}
    assert result["variable"] == [[1, 20], [3, 4]]
    assert (result["raggedRowSums"], result["sparseEntries"], result["words"]) == ([6, 0, 4], 2, 5)


def test_a_graph_is_traced_once_a_signature(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()["eagerAndGraph"]
    assert result["pythonRuns"] == {"eager": 51, "graph": 1, "graphOfTwoShapes": 2}
    assert result["difference"] <= 1e-12
    assert result["error"] <= 1e-10


def test_newtons_method_converges_quadratically_with_the_tapes_hessian(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()["higherOrder"]
    norms = result["newtonGradients"]
    assert norms[0] > 1
    assert norms[-1] < 1e-10
    assert norms[-1] < norms[-2] / 1e4 < norms[-3] / 1e6
    assert result["newtonAccuracy"] > 0.98


def test_tapes_and_custom_gradients_answer_what_is_known(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()
    assert result["persistent"]["squares"] == [2, 4]
    assert result["persistent"]["stopGradient"] == [1, 2]
    assert result["persistent"]["stopRecording"] is None
    assert 0 < result["persistent"]["mean"] < result["persistent"]["worst"]
    assert (result["customGradient"]["customAt1000"], result["customGradient"]["clipped"]) == (1, 0.5)


def test_sigterm_keeps_what_is_finished_and_the_next_run_does_the_rest(
    programs: dict[str, Program], start: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert "stopped after gradients, 3 of 6 parts are done" in stopped.output()
    assert not (stopped.folder / "results").exists()
    resumed = start(stopped.folder, *MODULE, "--smoke", name="second").finish()
    assert resumed.result()["resumed"] == ["constants", "eagerAndGraph", "gradients"]
    assert resumed.result()["higherOrder"]["newtonGradients"][-1] < 1e-10
