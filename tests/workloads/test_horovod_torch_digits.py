"""Horovod under torch: ranks that see different digits learn all of them, like one process with all."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.horovod_ranks import launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.horovod_ranks import Ranks
    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.horovod_torch_digits")
STEPS = 60
STOP_AT = 26
# Every step's global batch is the same set of samples, on however many ranks.
SAME_BATCHES = ("--shard", "interleave", "--fixed-order", "--lr-schedule", "constant", "--min-accuracy", 0)


@pytest.fixture(scope="module")
def ranks(start: Callable[..., Program]) -> Iterator[Ranks]:
    with launcher(start) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def four(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[Program]:
    """Run the program as its sample does: 2 x 2 ranks, each with its own digits."""
    programs = ranks(tmp_path_factory.mktemp("four"), "h0:2,h1:2", *MODULE, "--smoke")
    return [program.finish() for program in programs]


@pytest.fixture(scope="module")
def one(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Run one process, without any of Horovod's variables, with the global batch of 64."""
    folder = tmp_path_factory.mktemp("one")
    return start(folder, *MODULE, *SAME_BATCHES, "--steps", STEPS, "--batch-size", 64).finish()


def test_four_ranks_learn_what_each_of_them_sees_only_a_part_of(four: list[Program]) -> None:
    results = [four[0].result(rank) for rank in range(4)]
    assert {result["steps"] for result in results} == {300}
    assert [result["classes"] for result in results] == [[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]
    assert len({result["testAccuracy"] for result in results}) == 1
    assert results[0]["testAccuracy"] >= 0.95


def test_a_rank_alone_stays_far_below_it(start: Callable[..., Program], tmp_path: Path) -> None:
    # The environment of a rank whose Horovod variables got lost.
    alone = start(tmp_path, *MODULE, env={"FTJOB_RANK": "0", "FTJOB_WORLD_SIZE": "4"}).finish(exit_code=1)
    assert alone.result()["size"] == 1
    assert alone.result()["classes"] == [0, 4, 8]
    assert alone.result()["testAccuracy"] <= 0.4
    assert "below --min-accuracy 0.9" in alone.output()


def test_the_ranks_work_together(four: list[Program]) -> None:
    results = [four[0].result(rank) for rank in range(4)]
    assert [result["rank"] for result in results] == [0, 1, 2, 3]
    assert {result["size"] for result in results} == {4}
    assert {result["rankSum"] for result in results} == {4 * 5 // 2}
    assert [result["node"] for result in results] == ["node-of-h0"] * 2 + ["node-of-h1"] * 2
    assert len({result["initialWeights"] for result in results}) == 4, "ranks start with weights of their own"
    assert len({result["finalWeights"] for result in results}) == 1
    assert all(result["losses"] == results[0]["losses"] for result in results)
    for a, b in combinations(results, 2):
        assert not set(a["ids"]) & set(b["ids"])
    assert len(set().union(*(result["ids"] for result in results))) == 1437


def test_two_ranks_have_the_losses_of_one_process_and_after_sigterm_go_on_with_them(
    ranks: Ranks, one: Program, tmp_path: Path
) -> None:
    same = (*SAME_BATCHES, "--steps", STEPS, "--batch-size", 32)
    stopping = (HERE / "sigterm_at_call.py", "horovod_torch_digits", "Shard.at", STOP_AT, *same)
    for first in ranks(tmp_path, "h0:1,h1:1", *MODULE, *same, but={1: stopping}):
        first.finish(exit_code=143)
        assert f"stopped at step {STOP_AT}" in first.output()
    assert not (tmp_path / "results").exists()

    for rank, second in enumerate(ranks(tmp_path, "h0:1,h1:1", *MODULE, *same)):
        result = second.finish().result(rank)
        assert (result["startStep"], result["steps"]) == (STOP_AT, STEPS)
        np.testing.assert_allclose(result["losses"], one.result()["losses"][STOP_AT:], rtol=1e-4)
