"""Dynamic graphs: gradients are right, hooks see what they must, and the depth depends on the image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
NAME = "ftjob_workloads.dynamic_graphs"
MODULE = ("-m", NAME)
STOP_AT = 130


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start two at once, for the time goes into importing torch; the rest when they have ended."""
    folder = tmp_path_factory.mktemp("dynamic")
    mutant = HERE / "torch_mutant.py", "dynamic_graphs"
    first = {
        "whole": start(folder / "whole", *MODULE, "--smoke"),
        "stopped": start(
            folder / "resumed",
            HERE / "sigterm_at_call.py",
            "dynamic_graphs",
            "Trainer.rows",
            STOP_AT,
            "--smoke",
        ),
    }
    for program in first.values():
        program.wait()
    return first | {
        "resumed": start(folder / "resumed", *MODULE, "--smoke", name="second"),
        "forgotten_term": start(folder / "forgotten", *mutant, "forgotten_term", "--steps", 1),
        "one_depth": start(folder / "one", *mutant, "one_depth", "--steps", 1),
    }


def test_gradients_agree_with_finite_differences_and_hooks_with_the_graph(
    programs: dict[str, Program],
) -> None:
    checks = programs["whole"].finish().result()["checks"]
    assert len(checks) == 24
    assert all(checks.values()), checks


def test_a_wrong_backward_is_noticed(programs: dict[str, Program]) -> None:
    output = programs["forgotten_term"].finish(exit_code=1).output()
    assert "not so: swish\n" in output
    assert "not so: loop" not in output


def test_a_network_whose_depth_depends_on_the_image_learns(programs: dict[str, Program]) -> None:
    result = programs["whole"].finish().result()
    assert result["steps"] == 400
    assert result["testAccuracy"] >= 0.92
    assert np.mean(result["losses"][-20:]) < 0.2 * np.mean(result["losses"][:20])
    rounds = result["byRounds"]
    assert sum(these["images"] for these in rounds.values()) == 360
    assert sum(these["images"] >= 10 for these in rounds.values()) >= 3
    nodes = [these["graphNodes"] for these in rounds.values()]
    assert nodes == sorted(set(nodes))


def test_images_that_end_early_are_the_easy_ones(programs: dict[str, Program]) -> None:
    rounds = programs["whole"].finish().result()["byRounds"]
    quick, *_, slow = (these["accuracy"] for these in rounds.values())
    assert quick >= slow + 0.1


def test_one_depth_for_all_is_noticed(programs: dict[str, Program]) -> None:
    output = programs["one_depth"].finish(exit_code=1).output()
    assert "the depth does not depend on the image: rounds 6" in output


def test_too_little_learned_is_noticed(programs: dict[str, Program]) -> None:
    assert "is below --min-accuracy 0.9" in programs["one_depth"].finish(exit_code=1).output()


def test_sigterm_saves_and_the_next_run_goes_on_as_if_nothing_had_been(programs: dict[str, Program]) -> None:
    assert f"stopped at step {STOP_AT}" in programs["stopped"].finish(exit_code=143).output()
    resumed = programs["resumed"].finish().result()
    assert (resumed["startStep"], resumed["steps"]) == (STOP_AT, 400)
    whole = programs["whole"].finish().result()
    np.testing.assert_allclose(resumed["losses"], whole["losses"][STOP_AT:], rtol=1e-4)
    assert resumed["byRounds"] == whole["byRounds"]
