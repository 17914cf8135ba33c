"""What ranks find in their environment, by strategy: `ftjob run` with a script that writes it down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

MEETS_THE_OTHERS = """
import json, os, socket
print("ENV", json.dumps(dict(os.environ)))
rank, size = int(os.environ["FTJOB_RANK"]), int(os.environ["FTJOB_WORLD_SIZE"])
host, port = {address}
if rank == 0:
    with socket.create_server((host, int(port))) as server:
        others = [server.accept()[0] for _ in range(size - 1)]
        total = sum(int(other.makefile().readline()) for other in others)
        for other in others:
            other.sendall(b"%d\\n" % total)
else:
    while True:
        try:
            with socket.create_connection((host, int(port))) as peer:
                peer.sendall(b"%d\\n" % rank)
                total = int(peer.makefile().readline())
            break
        except ConnectionRefusedError:
            continue
print("TOTAL", total)
"""
"""Ranks meet at the address that their strategy gives them, and add up their numbers."""


def strategy_job(strategy: str, script: str, **spec: Any) -> dict[str, Any]:
    job = plain_job(script)
    job["spec"] |= {"strategy": strategy, **spec}
    if "processesPerWorker" not in spec:
        del job["spec"]["processesPerWorker"]
    return job


def said(log: str, word: str) -> Any:
    """Return the JSON that a rank has printed behind a word."""
    (line,) = [line for line in log.splitlines() if line.startswith(f"{word} ")]
    return json.loads(line.partition(" ")[2])


def met(strategy: str, address: str, folder: Path, ranks: int, **spec: Any) -> list[dict[str, str]]:
    """Let ranks meet at an address, given as Python for host and port; return the environment of each."""
    ran = run(strategy_job(strategy, MEETS_THE_OTHERS.format(address=address), **spec), folder)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert [said(ran.log(rank), "TOTAL") for rank in range(ranks)] == [sum(range(ranks))] * ranks
    return [said(ran.log(rank), "ENV") for rank in range(ranks)]


@pytest.mark.parametrize(("workers", "processes"), [(2, 2), (1, 1)])
def test_torchrun(tmp_path: Path, workers: int, processes: int) -> None:
    address = 'os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]'
    ranks = workers * processes
    found = met("Torchrun", address, tmp_path, ranks, workers=workers, processesPerWorker=processes)
    for rank, env in enumerate(found):
        group, local = divmod(rank, processes)
        expected = {
            "MASTER_ADDR": "127.0.0.1",
            "RANK": rank,
            "WORLD_SIZE": ranks,
            "LOCAL_RANK": local,
            "LOCAL_WORLD_SIZE": processes,
            "GROUP_RANK": group,
            "PET_NNODES": workers,
            "PET_NPROC_PER_NODE": processes,
            "PET_NODE_RANK": group,
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": env["MASTER_PORT"],
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "=lo",
        }
        assert {name: env.get(name) for name in expected} == {k: str(v) for k, v in expected.items()}


def test_jax(tmp_path: Path) -> None:
    address = 'os.environ["JAX_COORDINATOR_ADDRESS"].split(":")'
    found = met("JAX", address, tmp_path, 3, workers=3)
    assert [env["JAX_PROCESS_ID"] for env in found] == ["0", "1", "2"]
    assert {env["JAX_NUM_PROCESSES"] for env in found} == {"3"}
    assert "JAX_LOCAL_DEVICE_IDS" not in found[0]


def test_multi_worker_mirrored(tmp_path: Path) -> None:
    address = 'json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"][0].split(":")'
    found = met("MultiWorkerMirrored", address, tmp_path, 2, workers=2)
    configs = [json.loads(env["TF_CONFIG"]) for env in found]
    assert [config["task"] for config in configs] == [{"type": "worker", "index": i} for i in range(2)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    servers = configs[0]["cluster"]["worker"]
    assert len(set(servers)) == 2  # each task serves, and all are on one machine
    assert all(server.startswith("127.0.0.1:") for server in servers)
