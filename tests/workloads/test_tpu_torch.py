"""torch-xla's program: four devices that share each batch do what one does.

It runs in the environment that `tests/setup/python-tpu.sh` makes: torch-xla needs a torch of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
CACHE = Path(
    os.environ.get("FTJOB_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ftjob"
)
PYTHON = CACHE / "venv-tpu" / "bin" / "python"
MODULE = ("-m", "ftjob_workloads.tpu_torch")
STEPS = 30
STOP_AT = 24  # the second epoch of 22 steps
# Small steps: after long ones rounding alone leads two runs apart.
SHORT = ("--precision", "float32", "--learning-rate", 0.01, "--print-every", 12, "--min-accuracy", 0)
# What strategy TPU sets, also where there turns out to be none.
ENV = {"PYTHONPATH": str(HERE.parents[1] / "workloads"), "PJRT_DEVICE": "TPU"}


@pytest.fixture(scope="module")
def run(start: Callable[..., Program]) -> Callable[..., Program]:
    """Start the program in torch-xla's environment."""
    assert PYTHON.exists(), f"{PYTHON} is missing: run tests/setup/python-tpu.sh"
    return lambda folder, *args, **more: start(folder, *args, python=PYTHON, **{"env": ENV} | more)


@pytest.fixture(scope="module")
def programs(run: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into imports and into XLA's compiler."""
    folder = tmp_path_factory.mktemp("tpu-torch")
    short = (*SHORT, "--steps", STEPS)
    stopping = (HERE / "sigterm_at_call.py", "tpu_torch", "life.report", STOP_AT // 12)
    return {
        "smoke": run(folder / "smoke", *MODULE, "--smoke"),
        "one": run(folder / "one", *MODULE, "--devices", 1, *short),
        "four": run(folder / "four", *MODULE, "--devices", 4, *short),
        "stopped": run(folder / "resumed", *stopping, *short),
        "unsplit": run(folder / "unsplit", HERE / "tpu_torch_unsplit.py", *SHORT, "--steps", 1),
    }


def test_without_a_tpu_one_line_says_so_and_the_cpu_learns(programs: dict[str, Program]) -> None:
    smoke = programs["smoke"].finish()
    line = (
        "no TPU (no chip in /dev, and KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS is not set): training on 4 CPU devices"
    )
    assert smoke.output().splitlines()[0] == line
    assert smoke.output().count("no TPU") == 1
    assert (smoke.result()["device"], smoke.result()["devices"], smoke.result()["hosts"]) == ("CPU", 4, 1)
    assert smoke.result()["steps"] == 220
    assert smoke.result()["testAccuracy"] >= 0.95


def test_each_device_holds_a_quarter_of_the_batch(programs: dict[str, Program]) -> None:
    assert programs["four"].finish().result()["shards"] == [[16, 1, 8, 8]] * 4
    assert programs["one"].finish().result()["shards"] == [[64, 1, 8, 8]]
    # What a program looks like whose devices all do the same.
    assert programs["unsplit"].finish().result()["shards"] == [[64, 1, 8, 8]] * 4


def test_four_devices_have_the_losses_of_one(programs: dict[str, Program]) -> None:
    one, four = programs["one"].finish().result(), programs["four"].finish().result()
    assert (one["devices"], four["devices"]) == (1, 4)
    assert len(one["losses"]) == STEPS
    assert one["losses"][-1] < one["losses"][0]
    np.testing.assert_allclose(four["losses"], one["losses"], rtol=1e-3)


def test_activations_are_bfloat16_and_weights_are_not(programs: dict[str, Program]) -> None:
    smoke, four = programs["smoke"].finish().result(), programs["four"].finish().result()
    assert (smoke["activations"], smoke["weights"]) == (["torch.bfloat16"], ["torch.float32"])
    assert (four["activations"], four["weights"]) == (["torch.float32"], ["torch.float32"])
    # The same weights and batch: the first losses differ, by no more than 8 bits of mantissa can.
    assert 0 < abs(smoke["losses"][0] - four["losses"][0]) < 0.05


def test_the_remainder_of_an_epoch_is_dropped_and_nothing_compiled_for_it(
    programs: dict[str, Program],
) -> None:
    smoke = programs["smoke"].finish().result()
    assert smoke["droppedPerEpoch"] == 1437 % 64
    assert len(smoke["losses"]) == 220
    # In ten epochs: the first step (it makes the momenta), the other steps, the reading of 22 losses and of
    # the wish to stop, the test.
    assert smoke["compilations"] == 5


def test_sigterm_saves_and_the_next_run_goes_on(
    programs: dict[str, Program], run: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert f"stopped at step {STOP_AT}, saved" in stopped.output()
    resumed = run(stopped.folder, *MODULE, *SHORT, "--steps", STEPS, name="second").finish().result()
    assert (resumed["startStep"], resumed["steps"]) == (STOP_AT, STEPS)
    four = programs["four"].finish().result()
    np.testing.assert_allclose(resumed["losses"], four["losses"][STOP_AT:], rtol=1e-3)


def test_a_demanded_tpu_that_is_missing_is_an_error(run: Callable[..., Program], tmp_path: Path) -> None:
    demanded = run(tmp_path / "tpu", *MODULE, "--device", "tpu")
    other = run(tmp_path / "other", *MODULE, env=ENV | {"TPU_WORKER_ID": "1"})
    assert "no TPU: no chip in /dev" in demanded.finish(exit_code=1).output()
    assert "the first worker trains" in other.finish().output()
