"""MultiWorkerMirroredStrategy: workers that see different digits learn all of them, as one process would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.tasks import tensorflow_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.multiworker_digits")
STEPS = 60
STOP_BEFORE = 25
# Every step's global batch is the same set of samples, on however many workers; and steps are short, since
# long ones let the differences of rounding grow.
SAME_BATCHES = (
    *("--shard", "interleave", "--fixed-order"),
    *("--steps", STEPS, "--learning-rate", 0.02, "--min-accuracy", 0),
)


def workers(start: Callable[..., Program], folder: Path, *args: object) -> list[Program]:
    """Start two workers that know of each other."""
    tasks = tensorflow_tasks(worker=2)
    return [start(folder, *args, name=name, env=env) for name, env in tasks.items()]


@pytest.fixture(scope="module")
def two(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> list[Program]:
    """Run the program as its sample does."""
    return [p.finish() for p in workers(start, tmp_path_factory.mktemp("two"), *MODULE)]


@pytest.fixture(scope="module")
def one(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Run one process, without TF_CONFIG, with the global batch of 64."""
    return start(tmp_path_factory.mktemp("one"), *MODULE, *SAME_BATCHES, "--batch-size", 64).finish()


def test_two_workers_learn_what_each_of_them_sees_only_a_half_of(two: list[Program]) -> None:
    results = [two[0].result(rank) for rank in range(2)]
    assert {result["steps"] for result in results} == {300}
    assert [result["classes"] for result in results] == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    assert results[0]["testAccuracy"] == results[1]["testAccuracy"] >= 0.96


def test_a_worker_alone_stays_far_below_it(start: Callable[..., Program], tmp_path: Path) -> None:
    # The environment of a worker whose TF_CONFIG got lost.
    alone = start(tmp_path, *MODULE, env={"FTJOB_RANK": "0", "FTJOB_WORLD_SIZE": "2"}).finish(exit_code=1)
    assert (alone.result()["workers"], alone.result()["replicas"], alone.result()["rankSum"]) == (1, 1, 1)
    assert alone.result()["classes"] == [0, 2, 4, 6, 8]
    assert alone.result()["testAccuracy"] <= 0.6
    assert "below --min-accuracy 0.93" in alone.output()


def test_the_workers_work_together(two: list[Program]) -> None:
    results = [two[0].result(rank) for rank in range(2)]
    assert [result["rank"] for result in results] == [0, 1]
    assert [result["node"] for result in results] == ["node-of-worker-0", "node-of-worker-1"]
    assert {(result["workers"], result["replicas"], result["rankSum"]) for result in results} == {(2, 2, 3)}
    assert results[0]["losses"] == results[1]["losses"]
    # Their seeds differ: these are the chief's.
    assert results[0]["initialWeights"] == results[1]["initialWeights"]
    assert results[0]["finalWeights"] == results[1]["finalWeights"] != results[0]["initialWeights"]
    assert not set(results[0]["ids"]) & set(results[1]["ids"])
    assert len({*results[0]["ids"], *results[1]["ids"]}) == 1437


def test_two_workers_have_the_losses_and_weights_of_one_process_also_across_a_sigterm(
    start: Callable[..., Program], one: Program, tmp_path: Path
) -> None:
    same = (*SAME_BATCHES, "--batch-size", 32)
    stopped = STOP_BEFORE + 1  # the step that was under way is finished
    first = workers(start, tmp_path, HERE / "multiworker_sigterm_at_step.py", 1, STOP_BEFORE, *same)
    for rank, program in enumerate(first):
        program.finish(exit_code=143)
        assert f"worker {rank} stopped at step {stopped}" in program.output()
    losses = one.result()["losses"]
    assert len(losses) == STEPS
    assert f"step {stopped} loss {losses[stopped - 1]:.4f}" in first[0].output()

    second = [program.finish() for program in workers(start, tmp_path, *MODULE, *same)]
    for rank, program in enumerate(second):
        result = program.result(rank)
        assert (result["startStep"], result["steps"]) == (stopped, STEPS)
        np.testing.assert_allclose(result["losses"], losses[stopped:], rtol=1e-4)
    assert len(one.weights()) == 8
    for name, weight in one.weights().items():
        np.testing.assert_allclose(second[0].weights()[name], weight, rtol=1e-3, atol=1e-5, err_msg=name)


def test_no_function_is_traced_again_and_again(two: list[Program]) -> None:
    for program in two:
        assert "retracing" not in program.output()
