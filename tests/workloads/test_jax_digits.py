"""JAX: processes that see different digits learn all of them, as one process with the whole batch would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.tasks import jax_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.jax_digits")
STEPS = 60
STOP_AT = 26
# Every step's global batch is the same set of samples, on however many processes and devices.
SAME_BATCHES = (
    *("--shard", "interleave", "--fixed-order"),
    *("--steps", STEPS, "--learning-rate", 0.02, "--min-accuracy", 0),
)


def processes(start: Callable[..., Program], folder: Path, *commands: tuple[object, ...]) -> list[Program]:
    """Start processes that know of each other, each by its command."""
    envs = jax_processes(len(commands))
    return [start(folder, *commands[i], name=f"{i}", env=env) for i, env in enumerate(envs)]


@pytest.fixture(scope="module")
def two(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> list[Program]:
    """Run the program as its sample does."""
    return [p.finish() for p in processes(start, tmp_path_factory.mktemp("two"), MODULE, MODULE)]


@pytest.fixture(scope="module")
def one(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Run one process, without any of JAX's variables, with the global batch of 64."""
    return start(tmp_path_factory.mktemp("one"), *MODULE, *SAME_BATCHES, "--batch-size", 64).finish()


def weights(program: Program) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    with np.load(program.folder / "results" / "weights.npz") as file:
        return dict(file)


def test_two_processes_learn_what_each_of_them_sees_only_a_half_of(two: list[Program]) -> None:
    results = [two[0].result(rank) for rank in range(2)]
    assert {result["steps"] for result in results} == {300}
    assert [result["classes"] for result in results] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert results[0]["testAccuracy"] == results[1]["testAccuracy"] >= 0.95


def test_a_process_alone_stays_far_below_it(start: Callable[..., Program], tmp_path: Path) -> None:
    # The environment of a process whose JAX variables got lost.
    alone = start(tmp_path, *MODULE, env={"FTJOB_RANK": "0", "FTJOB_WORLD_SIZE": "2"}).finish(exit_code=1)
    assert (alone.result()["size"], alone.result()["rankSum"]) == (1, 1)
    assert alone.result()["classes"] == [0, 2, 4, 6, 8]
    assert alone.result()["testAccuracy"] <= 0.6
    assert "below --min-accuracy 0.92" in alone.output()


def test_the_processes_work_together(two: list[Program]) -> None:
    results = [two[0].result(rank) for rank in range(2)]
    assert [result["rank"] for result in results] == [0, 1]
    assert [result["node"] for result in results] == ["node-of-0", "node-of-1"]
    assert {(result["size"], result["devices"], result["rankSum"]) for result in results} == {(2, 2, 3)}
    assert results[0]["losses"] == results[1]["losses"]
    assert results[0]["initialWeights"] != results[1]["initialWeights"]
    assert results[0]["finalWeights"] == results[1]["finalWeights"]
    assert not set(results[0]["ids"]) & set(results[1]["ids"])
    assert len({*results[0]["ids"], *results[1]["ids"]}) == 1437


def test_two_processes_have_the_losses_and_weights_of_one_also_across_a_sigterm(
    start: Callable[..., Program], one: Program, tmp_path: Path
) -> None:
    same = (*SAME_BATCHES, "--batch-size", 32, "--cpu-devices", 2)  # four devices in all
    whole = (*MODULE, *same)
    stopping = (HERE / "sigterm_at_call.py", "jax_digits", "Shard.at", STOP_AT, *same)
    first = processes(start, tmp_path, whole, stopping)
    for rank, program in enumerate(first):
        program.finish(exit_code=143)
        assert f"process {rank} stopped at step {STOP_AT}" in program.output()
    losses = one.result()["losses"]
    assert len(losses) == STEPS
    assert f"step {STOP_AT} loss {losses[STOP_AT - 1]:.4f}" in first[0].output()

    second = [program.finish() for program in processes(start, tmp_path, whole, whole)]
    for rank, program in enumerate(second):
        result = program.result(rank)
        assert (result["startStep"], result["steps"], result["devices"]) == (STOP_AT, STEPS, 4)
        np.testing.assert_allclose(result["losses"], losses[STOP_AT:], rtol=1e-4)
    assert len(weights(one)) == 4
    for name, weight in weights(one).items():
        np.testing.assert_allclose(weights(second[0])[name], weight, rtol=1e-3, atol=1e-5, err_msg=name)


def test_it_says_what_it_uses_instead_of_a_tpu(one: Program) -> None:
    assert one.result()["platform"] == "cpu"
    assert one.output().startswith("no TPU here, using 1 x cpu of 1 processes\n")
