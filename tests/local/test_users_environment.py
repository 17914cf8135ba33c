"""What the caller's shell sets, as an image's ENV would, reaches the ranks: all but who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

SAYS = "import os, sys; print('FOUND', *(os.environ.get(name, 'unset') for name in sys.argv[1:]))"
NETWORK = {"NCCL_SOCKET_IFNAME": "bond0", "GLOO_SOCKET_IFNAME": "eth7", "OMP_NUM_THREADS": "7"}
HOROVOD = {
    "HOROVOD_GLOO_IFACE": "lo",
    "HOROVOD_GLOO_TIMEOUT_SECONDS": "77",
    "HOROVOD_FUSION_THRESHOLD": "0",
    "OMP_NUM_THREADS": "",
}


@pytest.mark.parametrize(
    ("strategy", "shell"),
    [
        ("Torchrun", NETWORK),
        ("JAX", {"NCCL_SOCKET_IFNAME": "^docker", "JAX_LOCAL_DEVICE_IDS": "0"}),
        ("Horovod", HOROVOD),
        ("Plain", {"OMP_NUM_THREADS": "5", "PYTHONUNBUFFERED": ""}),
    ],
)
def test_what_the_shell_sets_is_left_alone(tmp_path: Path, strategy: str, shell: dict[str, str]) -> None:
    job = plain_job(SAYS, workers=2, processes=2, resources={"limits": {"cpu": "2"}})
    trainer: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    trainer["args"] += list(shell)
    job["spec"]["strategy"] = strategy
    ran = run(job, tmp_path, **shell)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(4):
        assert f"FOUND {' '.join(shell.values())}\n" in ran.log(rank)


def test_who_a_rank_is_does_not_come_from_the_shell(tmp_path: Path) -> None:
    shell = {"RANK": "7", "WORLD_SIZE": "1", "FTJOB_RANK": "9"}
    job = plain_job(SAYS, workers=2)
    job["spec"]["strategy"] = "Torchrun"
    job["spec"]["template"]["spec"]["containers"][0]["args"] += list(shell)
    ran = run(job, tmp_path, **shell)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(2):
        assert f"FOUND {rank} 2 {rank}\n" in ran.log(rank)
