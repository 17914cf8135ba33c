"""Horovod: ranks that see different digits learn all of them, as one process with the whole batch would."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
from horovod.runner.http.http_server import RendezvousServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workloads.conftest import Program

    Ranks = Callable[..., list[Program]]

pytestmark = pytest.mark.timeout(900)  # the programs themselves are given up before
HERE = Path(__file__).parent
MODULE = ("-m", "ftjob_workloads.horovod_digits")
STEPS = 60
STOP_BEFORE = 25
# Every step's global batch is the same set of samples, on however many ranks.
SAME_BATCHES = ("--shard", "interleave", "--fixed-order", "--lr-schedule", "constant", "--min-accuracy", 0)


@pytest.fixture(scope="module")
def ranks(start: Callable[..., Program]) -> Iterator[Ranks]:
    """Start the ranks of a job on so many (pretended) hosts, with a rendezvous server of their own."""
    servers: list[RendezvousServer] = []

    def ranks(folder: Path, hosts: str, *args: object) -> list[Program]:
        slots = get_host_assignments(parse_hosts(hosts), 1)
        server = RendezvousServer()
        port = server.start()
        server.init(slots)
        servers.append(server)
        return [
            start(
                folder,
                *args,
                name=f"rank-{slot.rank}",
                env={
                    "HOROVOD_RANK": str(slot.rank),
                    "HOROVOD_SIZE": str(slot.size),
                    "HOROVOD_LOCAL_RANK": str(slot.local_rank),
                    "HOROVOD_LOCAL_SIZE": str(slot.local_size),
                    "HOROVOD_CROSS_RANK": str(slot.cross_rank),
                    "HOROVOD_CROSS_SIZE": str(slot.cross_size),
                    "HOROVOD_HOSTNAME": slot.hostname,
                    "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
                    "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
                    "HOROVOD_CONTROLLER": "gloo",
                    "HOROVOD_CPU_OPERATIONS": "gloo",
                    "HOROVOD_GLOO_IFACE": "lo",
                    "HOROVOD_GLOO_TIMEOUT_SECONDS": "400",
                    "FTJOB_NODE_NAME": f"node-of-{slot.hostname}",
                },
            )
            for slot in slots
        ]

    yield ranks
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def four(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> list[Program]:
    """Run the program as its sample does: 2 x 2 ranks, each with its own digits."""
    programs = ranks(tmp_path_factory.mktemp("four"), "h0:2,h1:2", *MODULE)
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


def test_two_ranks_have_the_losses_and_weights_of_one_process(
    ranks: Ranks, one: Program, tmp_path: Path
) -> None:
    two = ranks(tmp_path, "h0:1,h1:1", *MODULE, *SAME_BATCHES, "--steps", STEPS, "--batch-size", 32)
    for program in two:
        program.finish()
    assert two[0].result()["initialWeights"] == one.result()["initialWeights"]
    assert len(one.result()["losses"]) == STEPS
    np.testing.assert_allclose(two[0].result()["losses"], one.result()["losses"], rtol=1e-4)
    assert len(one.weights()) == 8
    for name, weight in one.weights().items():
        np.testing.assert_allclose(two[0].weights()[name], weight, rtol=1e-3, atol=1e-5, err_msg=name)


def test_sigterm_to_one_rank_stops_all_at_one_step_and_the_next_run_goes_on_from_it(
    ranks: Ranks, one: Program, tmp_path: Path
) -> None:
    same = (*SAME_BATCHES, "--steps", STEPS, "--batch-size", 32)
    stopped = STOP_BEFORE + 1  # the step that was under way is finished
    for program in ranks(tmp_path, "h0:1,h1:1", HERE / "horovod_sigterm_at_step.py", 1, STOP_BEFORE, *same):
        program.finish(exit_code=143)
        assert f"stopped at step {stopped}" in program.output()

    second = ranks(tmp_path, "h0:1,h1:1", *MODULE, *same)
    for rank, program in enumerate(second):
        result = program.finish().result(rank)
        assert (result["startStep"], result["steps"]) == (stopped, STEPS)
        np.testing.assert_allclose(result["losses"], one.result()["losses"][stopped:], rtol=1e-4)


def test_nothing_deprecated_is_used(four: list[Program]) -> None:
    for program in four:
        assert "deprecat" not in program.output().lower()
