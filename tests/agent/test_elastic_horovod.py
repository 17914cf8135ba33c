"""Elastic Horovod for real: two workers, two more, one killed; no sample of an epoch is lost."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.agent_runs import elastic_plan, wait_for
from support.ports import free_port

if TYPE_CHECKING:
    from support.agent_runs import AgentRun, Agents

WORKLOADS = Path(__file__).parents[2] / "workloads"
OPERATOR = Path(__file__).parents[2] / "operator"
EPOCHS = 6


def horovod_plan(index: int, ports: tuple[int, int], outputs: Path) -> dict[str, Any]:
    """Return the config of one worker with one rank, of two to four."""
    env = {
        "FTJOB_RANK": str(index),
        "FTJOB_OUTPUTS": str(outputs),
        "HOROVOD_ELASTIC": "1",
        "HOROVOD_HOSTNAME": "@HOSTNAME@",
        "HOROVOD_RANK": "@RANK@",
        "HOROVOD_SIZE": "@SIZE@",
        "HOROVOD_LOCAL_RANK": "0",
        "HOROVOD_LOCAL_SIZE": "@LOCAL_SIZE@",
        "HOROVOD_CROSS_RANK": "@CROSS_RANK@",
        "HOROVOD_CROSS_SIZE": "@CROSS_SIZE@",
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "@LEADER_IP@",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(ports[1]),
        "HOROVOD_GLOO_IFACE": "@IFACE@",
    }
    rendezvous = {"kind": "HorovodElastic", "port": ports[1]} if index == 0 else None
    return elastic_plan(
        index, ports[0], env=env, strategy="Horovod", rendezvous=rendezvous, contactTimeoutSeconds=6
    )


def begin(agents: Agents, index: int, ports: tuple[int, int], outputs: Path) -> AgentRun:
    command = [sys.executable, "-m", "ftjob_workloads.horovod_elastic_digits"]
    options = ["--epochs", str(EPOCHS), "--pause", "0.15"]
    env = {"PYTHONPATH": os.pathsep.join(map(str, (OPERATOR, WORKLOADS))), "OMP_NUM_THREADS": "1"}
    return agents.start(horovod_plan(index, ports, outputs), [*command, *options], env=env)


def step_of(leader: AgentRun) -> int:
    return int((leader.progress().get("progress") or {}).get("step", 0))


def test_ranks_join_and_are_lost_and_every_sample_is_seen_once_an_epoch(
    agents: Agents, tmp_path: Path
) -> None:
    ports, outputs = (free_port(), free_port()), tmp_path / "outputs"
    runs = [begin(agents, index, ports, outputs) for index in range(2)]
    wait_for(lambda: "of 2 at step 0" in runs[1].text("stdout"), "the first step of two", 150)
    runs += [begin(agents, index, ports, outputs) for index in (2, 3)]
    joined = wait_for(
        lambda: re.search(r" of 4 at step (\d+)", runs[0].text("stdout")), "the four ranks", 150
    )
    # A change that was not committed is forgotten with the steps that followed it.
    enough = int(joined[1]) + 4
    wait_for(lambda: step_of(runs[0]) >= enough, "steps of the four ranks", 150)
    runs[3].vanish()
    wait_for(lambda: runs[0].text("stdout").count(" of 3 at step"), "the three that remain", 150)
    assert [run.wait(150) for run in runs[:3]] == [0, 0, 0], [run.text("stderr")[-2000:] for run in runs[:3]]
    result = json.loads((outputs / "results/result-rank-00000.json").read_text())
    sizes = [size for _, size in result["sizes"]]
    assert (sizes[0], max(sizes), sizes[-1]) == (2, 4, 3)
    assert len(result["epochs"]) == EPOCHS
    for ids in result["epochs"]:
        counts = Counter(ids)
        assert len(counts) == result["samples"]
        assert len(ids) - len(counts) < 4  # what fills up the last batches
    assert runs[0].text("stdout").startswith("rank 0 of 2 at step 0\n")
    # Those that stayed were never started again: their state went on.
    assert runs[0].text("stdout").count(" at step 0\n") == 1
