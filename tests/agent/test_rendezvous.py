"""Horovod's store, served by the leader's child; ranks of two workers that add up their numbers."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from support.agent_runs import plan, star_plans
from support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import Agents


def horovod_env(rank: int, size: int, port: int) -> dict[str, str]:
    """Return what the plan gives to a rank that is alone in its worker."""
    return {
        "FTJOB_RANK": str(rank),
        "HOROVOD_HOSTNAME": f"digits-worker-0-{rank}",
        "HOROVOD_RANK": str(rank),
        "HOROVOD_SIZE": str(size),
        "HOROVOD_LOCAL_RANK": "0",
        "HOROVOD_LOCAL_SIZE": "1",
        "HOROVOD_CROSS_RANK": str(rank),
        "HOROVOD_CROSS_SIZE": str(size),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "@LEADER_IP@",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": "@IFACE@",
    }


def test_horovod_ranks_of_two_workers_find_each_other_and_add_up(agents: Agents) -> None:
    port = free_port()
    configs = star_plans(2, 1, strategy="Horovod")
    for rank, config in enumerate(configs):
        config["ranks"][0]["env"] = horovod_env(rank, 2, port)
    hosts = "digits-worker-0-0:1,digits-worker-0-1:1"
    configs[0]["rendezvous"] = {"kind": "Horovod", "port": port, "hosts": hosts}
    source = """
import torch, horovod.torch as hvd

hvd.init()
print(int(hvd.allreduce(torch.tensor([hvd.rank() + 1]), op=hvd.Sum)))
"""
    runs = [agents.start(config, [sys.executable, "-c", source]) for config in reversed(configs)]
    assert [run.wait(200) for run in runs] == [0, 0], [run.text("stderr") for run in runs]
    assert [run.text("stdout").strip() for run in runs] == ["3", "3"]


def test_a_python_without_horovod_is_named(agents: Agents, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S: without site packages
    python.chmod(0o755)
    config = plan(strategy="Horovod", rendezvous={"kind": "Horovod", "port": free_port(), "hosts": "a:1"})
    run = agents.start(config, [str(python), "-c", ""])
    assert run.wait() == 2
    assert run.failure["class"] == "Config"
    assert "horovod cannot be imported by" in run.failure["message"]


def test_a_rendezvous_port_in_use_is_named(agents: Agents) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = plan(strategy="Horovod", rendezvous={"kind": "Horovod", "port": port, "hosts": "a:1"})
        run = agents.script(config, "mark('up')")
        assert run.wait() == 2
    assert run.failure["class"] == "Config"
    assert f"port {port}" in run.failure["message"]
    assert not (run.folder / "up-0").exists()
