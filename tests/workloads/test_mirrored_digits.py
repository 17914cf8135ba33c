"""MirroredStrategy: two devices do what one does, only side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.mirrored_digits")
STEPS = 60
STOP_AT = 30  # in the middle of the second epoch of 22 steps


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing TensorFlow."""
    folder = tmp_path_factory.mktemp("mirrored")
    short = ("--steps", STEPS, "--min-accuracy", 0)
    stopping = (HERE / "sigterm_at_call.py", "mirrored_digits", "Keeper.on_train_batch_end", STOP_AT)
    return {
        "full": start(folder / "full", *MODULE, "--devices", 2),
        "one": start(folder / "one", *MODULE, "--devices", 1, *short),
        "two": start(folder / "two", *MODULE, "--devices", 2, *short),
        "stopped": start(folder / "resumed", *stopping, "--devices", 2, *short),
        "broken": start(folder / "broken", HERE / "mirrored_without_exchange.py", "--devices", 2),
    }


def test_two_devices_reach_the_stated_accuracy(programs: dict[str, Program]) -> None:
    full = programs["full"].finish()
    assert "num_replicas_in_sync=2" in full.output()
    assert full.result()["replicas"] == 2
    assert full.result()["steps"] == 440
    assert full.result()["testAccuracy"] >= 0.97
    assert full.result()["worstRecall"] >= 0.85


def test_replicas_that_do_not_exchange_gradients_stay_far_below_it(programs: dict[str, Program]) -> None:
    broken = programs["broken"].finish(exit_code=1)
    assert broken.result()["testAccuracy"] <= 0.8
    assert "below --min-accuracy 0.95" in broken.output()


def test_two_devices_have_the_losses_and_weights_of_one(programs: dict[str, Program]) -> None:
    one, two = programs["one"].finish(), programs["two"].finish()
    assert one.result()["replicas"] == 1
    assert two.result()["replicas"] == 2
    assert len(one.result()["losses"]) == STEPS
    np.testing.assert_allclose(two.result()["losses"], one.result()["losses"], rtol=1e-4)
    assert len(one.weights()) == 8
    for name, weight in one.weights().items():
        np.testing.assert_allclose(two.weights()[name], weight, rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_clip_threshold_of_that_comparison_really_clips(programs: dict[str, Program]) -> None:
    norms = np.array(programs["two"].finish().result()["gradientNorms"])
    assert np.mean(norms > 1.0) > 0.5
    assert norms.max() > 2.0


def test_sigterm_saves_and_the_next_run_goes_on_as_if_nothing_had_been(
    programs: dict[str, Program], start: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert f"stopped at step {STOP_AT}, saved" in stopped.output()
    assert not (stopped.folder / "results").exists()

    resumed = start(
        stopped.folder, *MODULE, "--devices", 2, "--steps", STEPS, "--min-accuracy", 0, name="second"
    ).finish()
    assert resumed.result()["startStep"] == STOP_AT
    assert resumed.result()["steps"] == STEPS
    two = programs["two"].finish()
    np.testing.assert_allclose(resumed.result()["losses"], two.result()["losses"][STOP_AT:], rtol=1e-4)
    for name, weight in two.weights().items():
        np.testing.assert_allclose(resumed.weights()[name], weight, rtol=1e-3, atol=1e-5, err_msg=name)
