"""The clock of real trainings on two ranks, held against what the programs measure themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from support.hook_env import PROGRAMS, hooks_in, rank_env, record, run
from support.ports import free_port

from ftjob_protocol.vitals import clock, where

if TYPE_CHECKING:
    from pathlib import Path

    from ftjob_protocol.vitals.clock import StepRecord

# The first test of a group waits for the run that all look at.
pytestmark = [pytest.mark.xdist_group("hooks-clock"), pytest.mark.timeout(600)]

SLACK = 1.0
"""Milliseconds between two readings of the clock, where nothing happens but that others get the core."""


class Rank:
    """What one rank has left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        found = clock.read(str(folder / "clock.bin"))
        assert found is not None
        self.records = {entry.step: entry for entry in found.records}
        lines = (folder / "truth.jsonl").read_text().splitlines()
        self.truth: dict[str, list[dict[str, Any]]] = {
            way["way"]: way["steps"] for way in map(json.loads, lines)
        }

    def steps(self, way: str) -> list[tuple[StepRecord, dict[str, Any]]]:
        """Records and truth of one way, without its first steps."""
        return [
            (self.records[truth["step"]], truth)
            for truth in self.truth[way][3:]
            if truth["step"] in self.records
        ]

    def own(self, way: str) -> list[float]:
        """Milliseconds of own work of each step."""
        found = [entry.own_ms for entry, _ in self.steps(way)]
        known = [own for own in found if own is not None]
        assert len(known) == len(found)
        return known

    def blocked(self, way: str) -> list[float]:
        """Milliseconds in which each step waited."""
        return [entry.blocked_ms or 0.0 for entry, _ in self.steps(way)]

    def planted(self, way: str) -> list[float]:
        """Milliseconds that were slept in each step."""
        return [truth["inner"] + truth["planted"] for _, truth in self.steps(way)]


def ranks_of(folder: Path, program: Path, *args: str, **env: object) -> list[Rank]:
    """Run two ranks to their end, which has to be a good one."""
    hooks = hooks_in(folder / "ftjob-agent.pyz")
    port, started = free_port(), []
    for rank in range(2):
        own = folder / f"rank-{rank}"
        own.mkdir()
        told = {"FTJOB_RANK": rank, "FTJOB_WORLD_SIZE": 2, "FTJOB_CLOCK": 1, "RANK": rank, "WORLD_SIZE": 2}
        place = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": 1,
        }
        with (own / "output.txt").open("w") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, program, *args],
                    env=rank_env(hooks, own, **told, **place, **env),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        for rank, process in enumerate(started):
            code = process.wait(timeout=500)
            assert code == 0, (folder / f"rank-{rank}" / "output.txt").read_text()[-4000:]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [Rank(folder / f"rank-{rank}") for rank in range(2)]


@pytest.fixture(scope="module")
def torch_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Rank]:
    return ranks_of(tmp_path_factory.mktemp("torch"), PROGRAMS / "clock_torch.py", "compiled")


WAYS = ["ddp healthy", "ddp input", "ddp backward", "ddp metric", "ddp buffers"]
WAYS += ["fsdp backward", "fsdp input", "by hand", "workers", "profiled"]


@pytest.mark.parametrize("way", WAYS)
def test_each_step_is_recorded_as_the_program_sees_it(torch_ranks: list[Rank], way: str) -> None:
    for rank in torch_ranks:
        steps = rank.steps(way)
        assert len(steps) >= 5
        for entry, truth in steps:
            assert entry.flags == 0
            assert entry.input_ms is not None
            # Between what the data set has slept, and what the program has seen around it.
            assert truth["inner"] <= entry.input_ms + 0.01
            assert entry.input_ms <= truth["input"] + 0.01
        whole = [(entry.step_ms, truth["whole"]) for entry, truth in steps]
        assert median(abs(seen - true) for seen, true in whole) < SLACK + 0.1 * median(t for _, t in whole)


@pytest.mark.parametrize(
    ("way", "slow"),
    [
        ("ddp input", 1),
        ("ddp backward", 1),
        ("ddp metric", 1),
        ("ddp buffers", 0),
        ("fsdp backward", 1),
        ("fsdp input", 1),
        ("by hand", 1),
    ],
)
def test_own_time_tells_the_slow_rank_where_steps_are_equal(
    torch_ranks: list[Rank], way: str, slow: int
) -> None:
    culprit, victim = torch_ranks[slow], torch_ranks[1 - slow]
    # The least of all steps is that in which no other process had the core.
    planted = min(culprit.planted(way))
    assert planted >= 12
    assert all(own >= slept for own, slept in zip(culprit.own(way), culprit.planted(way), strict=True))
    assert min(culprit.own(way)) - min(victim.own(way)) > 0.6 * planted
    # The victim waits for the culprit, and more so than the other way round.
    assert median(victim.blocked(way)) > 0.6 * planted
    assert median(victim.blocked(way)) > median(culprit.blocked(way))


def test_collectives_are_counted_also_of_groups_that_are_made_later(torch_ranks: list[Rank]) -> None:
    for rank in torch_ranks:
        assert {entry.collectives for entry, _ in rank.steps("ddp healthy")} == {1}
        assert {entry.collectives for entry, _ in rank.steps("ddp metric")} == {2}
        assert {entry.collectives for entry, _ in rank.steps("by hand")} == {3}


def test_steps_in_which_something_is_compiled_say_so(torch_ranks: list[Rank]) -> None:
    for rank in torch_ranks:
        flags = [rank.records[truth["step"]].flags & clock.COMPILE for truth in rank.truth["compiled"]]
        assert flags[0] == clock.COMPILE
        assert flags[-1] == 0


def test_nothing_is_said_of_what_was_seen(torch_ranks: list[Rank]) -> None:
    for rank in torch_ranks:
        assert record(rank.folder, "hooks.json") == {"frameworks": ["torch"], "notes": []}


def test_the_line_of_the_slow_code_is_named(torch_ranks: list[Rank]) -> None:
    seen = where.read(str(torch_ranks[1].folder / "where.json"))
    assert seen is not None
    assert seen.samples > 10
    assert {line.doing for line in seen.lines} <= set(where.Doing)
    assert any(line.text.startswith("clock_torch.py:") for line in seen.lines)


@pytest.mark.parametrize("end", ["", "dist.destroy_process_group()", "del ddp, model", "raise SystemExit(0)"])
def test_a_program_ends_well_whatever_it_leaves_of_its_groups(tmp_path: Path, end: str) -> None:
    program = f"""
import torch
from torch import distributed as dist, nn
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
model = nn.Linear(4, 4)
ddp = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    ddp(torch.ones(2, 4)).sum().backward()
    optimizer.step()
{end}
"""
    rank = tmp_path / "rank"
    rank.mkdir()
    env = rank_env(hooks_in(tmp_path / "ftjob-agent.pyz"), rank, CUDA_VISIBLE_DEVICES="", FTJOB_CLOCK=1)
    run(env, "-c", program)
    found = clock.read(str(rank / "clock.bin"))
    assert found is not None
    assert [entry.collectives for entry in found.records][1:] == [1, 1]  # DDP makes its buckets anew first
    assert record(rank, "hooks.json")["notes"] == []


def test_profiling_off_leaves_the_frameworks_alone(tmp_path: Path) -> None:
    program = """
import os, torch
from torch.utils.data import dataloader
from torch.distributed import distributed_c10d as c10d
import torch.nn.parallel.distributed as ddp
for thing in (dataloader._BaseDataLoaderIter.__next__, c10d.Work.wait, ddp.DistributedDataParallel.__init__):
    assert not hasattr(thing, "__wrapped__"), thing
weight = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([weight], lr=0.1)
for _ in range(5):
    (weight * 2).sum().backward()
    optimizer.step()
print(sorted(os.listdir(os.environ["FTJOB_RANK_DIR"])))
"""
    env = rank_env(hooks_in(tmp_path / "ftjob-agent.pyz"), tmp_path / "rank", CUDA_VISIBLE_DEVICES="")
    (tmp_path / "rank").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['hooks.json', 'optimizer', 'steps.bin']\n"
