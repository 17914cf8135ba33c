"""Device placement and XLA: what the program claims, and that its proofs can fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.device_placement")
CPU = "/job:localhost/replica:0/task:0/device:CPU:"


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing TensorFlow."""
    folder = tmp_path_factory.mktemp("placement")
    stopping = (HERE / "sigterm_in_part.py", "device_placement", "elementwise")
    cpu_only = {"CUDA_VISIBLE_DEVICES": "-1"}  # what is expected below is that of a CPU split in two
    return {
        "full": start(folder / "full", *MODULE, "--smoke", env=cpu_only),
        "stopped": start(folder / "stopped", *stopping, "--smoke", env=cpu_only),
        "no_xla": start(folder / "no_xla", HERE / "placement_without_xla.py", "--smoke", env=cpu_only),
    }


def test_devices_are_listed_and_settled_by_their_first_use(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()["devices"]
    assert result["physical"] == ["/physical_device:CPU:0"]
    assert result["logical"] == ["/device:CPU:0", "/device:CPU:1"]
    assert "cannot be modified after being initialized" in result["late"]


def test_tensors_variables_and_graphs_are_where_they_were_put(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()["placement"]
    assert result["eager"] == dict.fromkeys(("tensor", "product", "variable"), CPU + "1") | {
        "copy": CPU + "0"
    }
    assert result["graph"] == {"Tanh": "/device:CPU:1", "Sinh": "/device:CPU:0"}


def test_soft_placement_moves_what_is_otherwise_an_error(programs: dict[str, Program]) -> None:
    result = programs["full"].finish().result()["softPlacement"]
    assert result["missing"] == "GPU:0"
    assert "GPU:0" in result["hard"]["eager"]
    assert "GPU:0" in result["hard"]["graph"]
    assert result["softDevice"] == CPU + "0"


@pytest.mark.parametrize("task", ["elementwise", "trainingStep"])
def test_the_three_modes_are_measured_and_agree(programs: dict[str, Program], task: str) -> None:
    full = programs["full"].finish()
    result = full.result()[task]
    assert set(result["seconds"]) == {"eager", "graph", "xla"}
    assert all(0 < seconds < 60 for seconds in result["seconds"].values())
    assert all(0 <= difference < 1e-4 for difference in result["differences"].values())
    for mode in ("eager", "graph", "xla"):
        assert f"{mode:>8} {result['firstCallSeconds'][mode] * 1e3:9.2f} ms" in full.output()


@pytest.mark.parametrize("task", ["elementwise", "trainingStep"])
def test_the_hlo_proves_that_xla_fused(programs: dict[str, Program], task: str) -> None:
    result = programs["full"].finish().result()[task]
    assert result["hlo"].startswith("HloModule ")
    assert 0 < result["fusions"] <= result["kernels"] < result["graphOperations"] < result["hloInstructions"]
    assert "jit_compile=True" in result["graphRefuses"]


def test_a_graph_that_only_pretends_to_be_compiled_is_found(programs: dict[str, Program]) -> None:
    no_xla = programs["no_xla"].finish(exit_code=1)
    assert "marked to be compiled: {'graph': False, 'xla': False}" in no_xla.output()
    assert not (no_xla.folder / "results").exists()


def test_sigterm_keeps_what_is_finished_and_the_next_run_does_the_rest(
    programs: dict[str, Program], start: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert "stopped after elementwise, 4 of 5 parts are done" in stopped.output()
    assert not (stopped.folder / "results").exists()
    resumed = start(
        stopped.folder, *MODULE, "--smoke", env={"CUDA_VISIBLE_DEVICES": "-1"}, name="second"
    ).finish()
    assert resumed.result()["resumed"] == ["devices", "placement", "softPlacement", "elementwise"]
    assert resumed.result()["trainingStep"]["fusions"] > 0
