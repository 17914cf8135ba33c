"""An elastic torch program: two workers, two more, one killed; it goes on from its checkpoint each time."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from support.agent_runs import elastic_plan, wait_for
from support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import AgentRun, Agents

SAMPLES, EPOCHS = 120, 3

PROGRAM = f"""
import json, os, time
import torch, torch.distributed as dist

dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
file = "../state.json"
state = {{"step": 0, "seen": [], "epochs": [], "sizes": []}}
if os.path.exists(file):
    state = json.load(open(file))
state["sizes"].append([state["step"], size])
while len(state["epochs"]) < {EPOCHS}:
    left = sorted(set(range({SAMPLES})) - set(state["seen"]))
    for first in range(0, len(left), size):
        mine = left[first + rank] if first + rank < len(left) else -1
        found = [torch.zeros(1, dtype=torch.int64) for _ in range(size)]
        dist.all_gather(found, torch.tensor([mine]))
        state["seen"] += [int(row) for row in found if row >= 0]
        state["step"] += 1
        if rank == 0:
            with open(file + ".new", "w") as new:
                json.dump(state, new)
            os.replace(file + ".new", file)
        time.sleep(0.15)
    state["epochs"].append(state["seen"])
    state["seen"] = []
if rank == 0:
    json.dump(state, open("../result.json", "w"))
dist.destroy_process_group()
"""


def torch_plan(index: int, ports: tuple[int, int]) -> dict[str, Any]:
    """Return the config of one worker with one rank, of two to four."""
    env = {
        "FTJOB_RANK": "@RANK@",
        "RANK": "@RANK@",
        "WORLD_SIZE": "@SIZE@",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "@LEADER_IP@",
        "MASTER_PORT": str(ports[1]),
        "GLOO_SOCKET_IFNAME": "@IFACE@",
    }
    return elastic_plan(index, ports[0], env=env, strategy="Torchrun", contactTimeoutSeconds=6)


def begin(agents: Agents, index: int, ports: tuple[int, int]) -> AgentRun:
    return agents.start(torch_plan(index, ports), [sys.executable, "-c", PROGRAM])


def test_it_goes_on_from_its_checkpoint_and_no_sample_is_lost(agents: Agents, tmp_path: Path) -> None:
    state = tmp_path / "state.json"

    def sizes() -> list[int]:
        if not state.exists():
            return []
        return [size for _, size in json.loads(state.read_text())["sizes"]]

    ports = (free_port(), free_port())
    runs = [begin(agents, index, ports) for index in range(2)]
    wait_for(lambda: 2 in sizes(), "a step of two ranks", 150)
    runs += [begin(agents, index, ports) for index in (2, 3)]
    wait_for(lambda: 4 in sizes(), "a step of four ranks", 150)
    runs[2].vanish()
    rest = [runs[0], runs[1], runs[3]]
    assert [run.wait(200) for run in rest] == [0, 0, 0], [run.text("stderr")[-2000:] for run in rest]
    result = json.loads((tmp_path / "result.json").read_text())
    steps, found = zip(*result["sizes"], strict=True)
    assert (found[0], max(found), found[-1]) == (2, 4, 3)
    assert list(steps) == sorted(steps)
    assert steps[1] > 0
    assert [sorted(epoch) for epoch in result["epochs"]] == [list(range(SAMPLES))] * EPOCHS
