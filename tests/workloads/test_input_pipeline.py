"""tf.data pipelines: each optimisation is measured and changes nothing, and shards fit together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workloads.conftest import Program

HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.input_pipeline")
SMALL = ("--images", 75, "--epochs", 2)
VARIANTS = (
    *("parallelMap", "prefetch", "vectorizedMap"),
    *("automatic", "cacheInMemory", "cacheInFile", "all"),
)


@pytest.fixture(scope="module")
def programs(start: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Program]:
    """Start all of them at once: most of their time goes into importing TensorFlow."""
    folder = tmp_path_factory.mktemp("pipeline")
    two = [{"FTJOB_RANK": str(rank), "FTJOB_WORLD_SIZE": "2"} for rank in range(2)]
    stopping = (HERE / "sigterm_in_part.py", "input_pipeline", "cache")
    return {
        "worker-0": start(folder / "two", *MODULE, *SMALL, env=two[0], name="worker-0"),
        "worker-1": start(folder / "two", *MODULE, *SMALL, env=two[1], name="worker-1"),
        "stopped": start(folder / "stopped", *stopping, *SMALL),
        "late": start(folder / "late", HERE / "pipeline_late_shards.py", *SMALL),
    }


def test_the_workers_shards_are_disjoint_and_complete(programs: dict[str, Program]) -> None:
    results = [programs[f"worker-{rank}"].finish().result(rank)["ownShard"] for rank in range(2)]
    assert [(result["shard"], result["shards"]) for result in results] == [(0, 2), (1, 2)]
    assert [len(result["ids"]) for result in results] == [38, 37]
    assert sorted(results[0]["ids"] + results[1]["ids"]) == list(range(75))
    assert results[0]["ids"] != sorted(results[0]["ids"]), "each shard is shuffled"
    assert len(list((programs["worker-0"].folder / "images").glob("*/*.jpg"))) == 75


def test_shards_that_are_cut_after_a_shuffle_are_found(programs: dict[str, Program]) -> None:
    result = programs["worker-0"].finish().result()["shards"]
    assert result["lengths"] == [25, 25, 25]
    assert result["missingIfShardedAfterShuffle"] > 5
    late = programs["late"].finish(exit_code=1)
    assert "shards: the shards overlap, or something is missing" in late.output()
    assert not (late.folder / "results").exists()


def test_an_epoch_is_complete_and_shuffled_anew(programs: dict[str, Program]) -> None:
    result = programs["worker-0"].finish().result()["shuffle"]
    assert result["samples"] == 75
    first, again, second = result["firstIds"]
    assert first == again != second


def test_a_cache_does_not_need_the_files_any_more(programs: dict[str, Program]) -> None:
    assert programs["worker-0"].finish().result()["cache"] == {"imagesWithoutFiles": 64}


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_optimisation_is_measured_and_delivers_the_same_images(
    programs: dict[str, Program], variant: str
) -> None:
    worker = programs["worker-0"].finish()
    result = worker.result()[variant]
    assert result["samples"] == 75
    assert result["difference"] < 1e-5
    times = result["epochSeconds"]
    assert all(len(times[name]) == 2 and min(times[name]) > 0 for name in ("naive", variant))
    rates = result["imagesPerSecond"]
    assert result["gain"] == pytest.approx(rates["improved"] / rates["naive"])
    assert f"{variant:>14} {rates['naive']:8.0f} {rates['improved']:8.0f} images/s" in worker.output()


def test_only_worker_0_measures(programs: dict[str, Program]) -> None:
    worker = programs["worker-1"].finish()
    assert set(worker.result(1)) == {"options", "resumed", "ownShard"}


def test_sigterm_keeps_what_is_finished_and_the_next_run_does_the_rest(
    programs: dict[str, Program], start: Callable[..., Program]
) -> None:
    stopped = programs["stopped"].finish(exit_code=143)
    assert "stopped after cache, 4 of 11 parts are done" in stopped.output()
    assert not (stopped.folder / "results").exists()
    resumed = start(stopped.folder, *MODULE, *SMALL, name="second").finish()
    assert resumed.result()["resumed"] == ["ownShard", "shuffle", "shards", "cache"]
    assert all(resumed.result()[variant]["gain"] > 0 for variant in VARIANTS)
