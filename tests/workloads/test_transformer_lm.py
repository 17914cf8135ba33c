"""The masked language model: ranks that see different lines learn together, and positions matter."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

    Ranks = Callable[..., list[Program]]

HERE = Path(__file__).parent
NAME = "ftjob_workloads.transformer_lm"
MODULE = ("-m", NAME)
STEPS = 40
STOP_AT = 16
# Every step's global batch is the same lines with the same masks, on however many ranks.
SAME_BATCHES = ("--shard", "whole", "--steps", STEPS, "--min-accuracy", 0)
GAP = 0.1
"""By so much the accuracy is lower without positions."""


@pytest.fixture(scope="module")
def ranks(start: Callable[..., Program]) -> Ranks:
    """Start two ranks as torchrun would; each has a command of its own."""

    def ranks(folder: Path, *commands: tuple[object, ...]) -> list[Program]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return [
            start(
                folder,
                *command,
                name=f"rank-{rank}",
                env={
                    "RANK": str(rank),
                    "WORLD_SIZE": str(len(commands)),
                    "LOCAL_RANK": str(rank),
                    "LOCAL_WORLD_SIZE": str(len(commands)),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                    "OMP_NUM_THREADS": "1",
                },
            )
            for rank, command in enumerate(commands)
        ]

    return ranks


@pytest.fixture(scope="module")
def two(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[Program]:
    command = (*MODULE, "--smoke")
    return [program.finish() for program in ranks(tmp_path_factory.mktemp("two"), command, command)]


@pytest.fixture(scope="module")
def lonely(
    start: Callable[..., Program], two: list[Program], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Program]:
    """Run single processes, when the two have ended."""
    folder = tmp_path_factory.mktemp("lonely")
    assert len(two) == 2
    # A rank whose torchrun variables got lost; and the model without positions, with all else in its favour.
    lost = {"FTJOB_RANK": "0", "FTJOB_WORLD_SIZE": "2"}
    return {
        "alone": start(folder / "alone", *MODULE, "--smoke", env=lost),
        "none": start(folder / "none", *MODULE, "--smoke", "--positions", "none", "--min-accuracy", 0),
        "one": start(folder / "one", *MODULE, *SAME_BATCHES),
    }


def test_two_ranks_learn_what_each_is_asked_only_a_half_of(two: list[Program]) -> None:
    results = [two[0].result(rank) for rank in range(2)]
    assert {result["steps"] for result in results} == {500}
    assert len({result["testAccuracy"] for result in results}) == 1
    assert "rank 1 of 2" in two[1].output()


def test_a_rank_alone_stays_below_the_stated_accuracy(two: list[Program], lonely: dict[str, Program]) -> None:
    alone = lonely["alone"].finish(exit_code=1)
    assert alone.result()["size"] == 1
    assert alone.result()["ids"] == two[0].result()["ids"]
    assert "is below --min-accuracy" in alone.output()


def test_without_positions_the_same_model_is_worse_by_the_stated_gap(
    two: list[Program], lonely: dict[str, Program]
) -> None:
    with_positions, without = two[0].result(), lonely["none"].finish().result()
    assert (with_positions["positions"], without["positions"]) == ("sinusoidal", "none")
    assert without["steps"] == with_positions["steps"]
    assert without["testAccuracy"] <= with_positions["testAccuracy"] - GAP
    assert without["testLoss"] >= with_positions["testLoss"] + 0.3


def test_the_ranks_work_together(two: list[Program]) -> None:
    results = [two[0].result(rank) for rank in range(2)]
    assert [result["rank"] for result in results] == [0, 1]
    assert {result["size"] for result in results} == {2}
    assert {result["rankSum"] for result in results} == {3}
    assert len({result["initialWeights"] for result in results}) == 2, "ranks start with weights of their own"
    for result in results:
        assert len(result["finalWeights"]) == 2
        assert len(set(result["finalWeights"])) == 1
        assert result["losses"] == results[0]["losses"]
    first, second = (result["ids"] for result in results)
    assert not set(first) & set(second)
    assert len(set(first)) == len(first) == len(second)


def test_ranks_that_do_not_exchange_gradients_are_noticed(ranks: Ranks, tmp_path: Path) -> None:
    command = (HERE / "torch_mutant.py", "transformer_lm", "no_exchange", "--steps", 3, "--min-accuracy", 0)
    for program in ranks(tmp_path, command, command):
        assert "the ranks' weights differ" in program.finish(exit_code=1).output()


def test_two_ranks_have_the_losses_of_one_process(
    ranks: Ranks, lonely: dict[str, Program], tmp_path: Path
) -> None:
    command = (*MODULE, *SAME_BATCHES)
    programs = enumerate(ranks(tmp_path, command, command))
    together = [program.finish().result(rank) for rank, program in programs]
    one = lonely["one"].finish().result()
    assert len(one["losses"]) == STEPS
    assert sorted(together[0]["ids"] + together[1]["ids"]) == sorted(one["ids"])
    np.testing.assert_allclose(together[0]["losses"], one["losses"], rtol=1e-4)
    np.testing.assert_allclose(together[0]["testLoss"], one["testLoss"], rtol=1e-4)


def test_sigterm_to_one_rank_stops_all_at_one_step_and_the_next_run_goes_on_from_it(
    ranks: Ranks, lonely: dict[str, Program], tmp_path: Path
) -> None:
    command = (*MODULE, *SAME_BATCHES)
    signalled = (HERE / "sigterm_at_call.py", "transformer_lm", "Shard.at", STOP_AT, *SAME_BATCHES)
    for program in ranks(tmp_path, command, signalled):
        assert f"stopped at step {STOP_AT}" in program.finish(exit_code=143).output()
    assert not (tmp_path / "results").exists()

    one = lonely["one"].finish().result()
    for rank, program in enumerate(ranks(tmp_path, command, command)):
        result = program.finish().result(rank)
        assert (result["startStep"], result["steps"]) == (STOP_AT, STEPS)
        np.testing.assert_allclose(result["losses"], one["losses"][STOP_AT:], rtol=1e-4)
