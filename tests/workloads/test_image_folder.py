"""A folder of image files: what can't be read is named, the rest seen once an epoch on however many ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.ports import free_port

from ftjob_workloads import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.image_folder")
EPOCH = 25
STEPS = 2 * EPOCH
STOP_AT = 30  # in the middle of the second
STOPPED = STOP_AT + 1  # the ranks agree on it with the next step's loss
EMPTY = "digit-3/empty.png"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """Arguments of a short run on a folder of the user's own, which has one more broken file."""
    data = pictures.write(tmp_path_factory.mktemp("mine") / "pictures")
    (data / EMPTY).touch()
    return ("--data", data, "--epochs", 2, "--min-accuracy", 0)


@pytest.fixture(scope="module")
def programs(
    start: Callable[..., Program], short: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing torch."""
    folder = tmp_path_factory.mktemp("image_folder")
    job = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    return {
        "full": start(folder / "full", *MODULE, "--smoke"),
        "one": start(folder / "one", *MODULE, *short),
        "stopped": start(folder / "resumed", HERE / "image_folder_sigterm_at_step.py", STOP_AT, *short),
        **{
            f"rank {rank}": start(
                folder / "two",
                *MODULE,
                *short,
                env=job | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                name=f"rank-{rank}",
            )
            for rank in range(2)
        },
    }


@pytest.fixture(scope="module")
def two(programs: dict[str, Program]) -> list[dict[str, Any]]:
    """Give the results of two ranks."""
    return [programs[f"rank {rank}"].finish().result(rank) for rank in range(2)]


def check_shares(results: Sequence[dict[str, Any]]) -> None:
    """Check that in each epoch every file to learn from was seen once, by one rank."""
    for epoch in ("0", "1"):
        seen = sorted(number for result in results for number in result["seen"][epoch])
        assert seen == results[0]["learn"]


def test_it_reaches_the_stated_accuracy(programs: dict[str, Program]) -> None:
    full = programs["full"].finish().result()
    assert full["classes"] == ["china", *(f"digit-{digit}" for digit in range(10)), "flower"]
    assert full["testAccuracy"] >= 0.95


def test_a_corrupt_and_a_text_file_are_named_and_skipped(programs: dict[str, Program]) -> None:
    full = programs["full"].finish()
    assert set(full.result()["skipped"]) == {pictures.BROKEN, pictures.TEXT}
    assert f"skipped {pictures.BROKEN}: OSError" in full.output()
    assert f"skipped {pictures.TEXT}: UnidentifiedImageError" in full.output()
    assert len(full.result()["files"]) == 1797 + 2 * 104
    assert not {pictures.BROKEN, pictures.TEXT} & set(full.result()["files"])


def test_a_folder_of_ones_own_is_examined_too(two: list[dict[str, Any]]) -> None:
    for result in two:  # each has decoded half of the files, and both know of all
        assert set(result["skipped"]) == {pictures.BROKEN, pictures.TEXT, EMPTY}


def test_the_ranks_shares_are_disjoint_and_complete(two: list[dict[str, Any]]) -> None:
    check_shares(two)
    sizes = [len(result["seen"]["0"]) for result in two]
    assert max(sizes) - min(sizes) <= EPOCH  # one file a step


def test_ranks_that_do_not_know_of_each_other_fail_that_check(programs: dict[str, Program]) -> None:
    alone = programs["one"].finish().result()
    check_shares([alone])
    with pytest.raises(AssertionError):
        check_shares([alone, alone])


def test_the_ranks_work_together(programs: dict[str, Program], two: list[dict[str, Any]]) -> None:
    assert {result["size"] for result in two} == {2}
    assert {result["rankSum"] for result in two} == {1 + 2}
    assert two[0]["initialWeights"] != two[1]["initialWeights"], "ranks start with weights of their own"
    assert two[0]["finalWeights"] == two[1]["finalWeights"]
    assert two[0]["losses"] == two[1]["losses"]
    one = programs["one"].finish().result()
    # Later the last bits, which depend on the order of sums, grow as weights do in training.
    np.testing.assert_allclose(two[0]["losses"][:EPOCH], one["losses"][:EPOCH], rtol=1e-4)


def test_sigterm_saves_and_the_next_run_goes_on_as_if_nothing_had_been(
    programs: dict[str, Program], start: Callable[..., Program], short: tuple[object, ...]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert f"stopped at step {STOPPED}" in stopped.output()
    assert not (stopped.folder / "results").exists()

    # The bar is one that nobody reaches.
    resumed = start(stopped.folder, *MODULE, *short, "--min-accuracy", 1.01, name="second").finish(
        exit_code=1
    )
    assert "below --min-accuracy 1.01" in resumed.output()
    result, one = resumed.result(), programs["one"].finish().result()
    assert (result["startStep"], result["steps"]) == (STOPPED, STEPS)
    np.testing.assert_allclose(result["losses"], one["losses"][STOPPED:], rtol=1e-3)
    assert result["seen"]["1"] == one["seen"]["1"][-len(result["seen"]["1"]) :]
