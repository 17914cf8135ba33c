"""The Horovod sample on two nodes, against the operator that runs as a pod from its image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import Cluster, conditions, every_rank_alone, sample, seen_while_running

if TYPE_CHECKING:
    from pathlib import Path

RANKS = 4
ACCURACY = 0.90
"""What the program demands; a rank alone with its own digits stays below 0.35."""


@pytest.fixture(scope="module")
def progress(cluster: Cluster) -> list[str]:
    """What `kubectl get ftj` shows under PROGRESS while the sample runs to its end."""
    cluster.apply(sample("horovod-digits.yaml"))
    return seen_while_running(cluster, "horovod-digits", "progress")


@pytest.fixture(scope="module")
def done(cluster: Cluster, progress: list[str]) -> dict[str, Any]:
    return cluster.finished("horovod-digits")


@pytest.fixture(scope="module")
def outputs(cluster: Cluster, done: dict[str, Any]) -> Path:
    return cluster.outputs_of(done)


@pytest.fixture(scope="module")
def results(outputs: Path) -> list[dict[str, Any]]:
    return [json.loads((outputs / f"results/result-rank-{r:05}.json").read_text()) for r in range(RANKS)]


def test_the_job_succeeds_and_says_so(done: dict[str, Any]) -> None:
    assert done["status"]["phase"] == "Succeeded"
    assert conditions(done)["Succeeded"]["status"] == "True"
    assert conditions(done)["Finished"]["status"] == "True"
    assert done["status"]["roles"][0]["succeededIndexes"] == "0-1"


def test_kubectl_get_shows_progress_while_it_runs(progress: list[str]) -> None:
    assert any(value.endswith("%") for value in progress)


def test_progress_ends_at_the_scripts_own_step_count(
    done: dict[str, Any], results: list[dict[str, Any]]
) -> None:
    assert done["status"]["progress"]["step"] == results[0]["steps"]


def test_every_ranks_profile_is_in_the_shared_volume(done: dict[str, Any], outputs: Path) -> None:
    for rank in range(RANKS):
        folder = outputs / f"captures/s0/raw/rank-{rank:05}"
        assert (folder / f"rank-{rank:05}.xplane.pb").stat().st_size > 0
        assert (folder / "done.json").exists()
        assert (outputs / f"plugins/profile/s0/rank-{rank:05}.xplane.pb").stat().st_size > 0
        assert (outputs / f"system/rank-{rank:05}.jsonl").stat().st_size > 0
    assert (outputs / "captures/s0/raw/rank-00000/horovod_timeline.json").stat().st_size > 0
    # On a busy machine the job takes one more by itself.
    [capture] = [each for each in done["status"]["profile"]["captures"] if each["id"] == "s0"]
    assert (capture["phase"], capture["ranks"]) == ("Ready", f"{RANKS}/{RANKS}")


def test_the_ranks_ran_on_two_nodes(results: list[dict[str, Any]]) -> None:
    assert len({result["node"] for result in results}) == 2


def test_the_ranks_really_worked_together(results: list[dict[str, Any]]) -> None:
    assert {result["rankSum"] for result in results} == {RANKS * (RANKS + 1) / 2}
    assert len({result["initialWeights"] for result in results}) == RANKS, "seeds differ"
    assert len({result["finalWeights"] for result in results}) == 1, "weights are equal at the end"
    ids = [set(result["ids"]) for result in results]
    assert sum(len(shard) for shard in ids) == len(set().union(*ids)), "shards are disjoint"
    classes = [set(result["classes"]) for result in results]
    assert sum(len(seen) for seen in classes) == len(set().union(*classes)), "no digit is seen by two ranks"


def test_the_accuracy_needs_the_exchange(results: list[dict[str, Any]]) -> None:
    assert all(result["testAccuracy"] >= ACCURACY for result in results)


def test_the_mutant_with_every_rank_alone_fails(cluster: Cluster, done: dict[str, Any]) -> None:
    mutant = every_rank_alone(sample("horovod-digits.yaml"), workers=RANKS)
    cluster.apply(mutant)
    failed = cluster.finished(mutant["metadata"]["name"])
    assert failed["status"]["phase"] == "Failed"
    assert "accuracy" in failed["status"]["failure"]["message"].lower()
