"""Ranks that fail once and succeed at the next attempt, in the same agents, with real frameworks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

    from support.local_run import Ran

LIFE = """
import json, os, sys
rank, size, attempt = (int(os.environ[f"FTJOB_{key}"]) for key in ("RANK", "WORLD_SIZE", "ATTEMPT"))
print("LIFE", json.dumps([attempt, os.getppid(), os.environ["FTJOB_POD_NAME"]]), flush=True)
"""
HOROVOD = """
import torch, horovod.torch as hvd
hvd.init()
assert (hvd.rank(), hvd.size()) == (rank, size)
total = int(hvd.allreduce(torch.tensor([rank + 1.0]), op=hvd.Sum).item())
"""
TORCH = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
value = torch.tensor([rank + 1.0])
dist.all_reduce(value)
total = int(value.item())
if attempt:
    dist.destroy_process_group()  # else its threads may abort the process at its end
"""
PLAIN = """
import time
folder = os.environ["FTJOB_OUTPUTS"]
open(f"{folder}/{attempt}-{rank}", "w").close()
while not all(os.path.exists(f"{folder}/{attempt}-{other}") for other in range(size)):
    time.sleep(0.01)
total = size * (size + 1) // 2
"""
TENSORFLOW = """
import tensorflow as tf
tf.distribute.MultiWorkerMirroredStrategy()
total = size * (size + 1) // 2
"""
END = """
if attempt == 0 and rank == {culprit}:
    os._exit(42)  # an ordinary exit may abort: the threads of torch's group are still there
if attempt == 0:
    import time
    time.sleep(600)
print("TOTAL", total, flush=True)
"""
RESTART = {"limit": 1, "retryExitCodes": "42", "backoffSeconds": 0}


def lives(ran: Ran, rank: int) -> list[tuple[int, int, str]]:
    """Return attempt, agent and pod of each life of a rank."""
    told = [line.removeprefix("LIFE ") for line in ran.log(rank).splitlines() if line.startswith("LIFE ")]
    return [tuple(json.loads(line)) for line in told]


def failing_once(strategy: str, exchange: str, *, culprit: int, **spec: Any) -> dict[str, Any]:
    job = plain_job(LIFE + exchange + END.format(culprit=culprit), workers=2, processes=2)
    job["spec"] |= {"strategy": strategy, "restart": RESTART, **spec}
    return job


@pytest.mark.parametrize(
    ("strategy", "exchange", "culprit"),
    [
        ("Horovod", HOROVOD, 3),
        ("Torchrun", TORCH, 0),
        ("Plain", PLAIN, 1),
    ],
)
def test_a_rank_that_fails_once_is_started_again_with_all_others_in_the_same_agents(
    tmp_path: Path, strategy: str, exchange: str, culprit: int
) -> None:
    ran = run(failing_once(strategy, exchange, culprit=culprit), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(4):
        first, second = lives(ran, rank)
        assert (first[0], second[0]) == (0, 1)
        assert first[1:] == second[1:], "the same agent in the same pod"
        assert ran.log(rank).splitlines().count("TOTAL 10") == 1
    status = ran.status
    assert (status["phase"], status["attempt"], status["podAttempt"]) == ("Succeeded", 1, 0)
    assert (status["restarts"]["failures"], status["restarts"]["disruptions"]) == (1, 0)
    assert "lostSeconds" in status["restarts"]


def test_tensorflows_servers_start_again_on_their_ports(tmp_path: Path) -> None:
    job = failing_once("MultiWorkerMirrored", TENSORFLOW, culprit=1)
    del job["spec"]["processesPerWorker"]
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert (ran.status["attempt"], ran.status["podAttempt"]) == (1, 0)
    assert "TOTAL 3" in ran.log(0)


def test_new_pods_are_made_where_the_job_says_so(tmp_path: Path) -> None:
    job = failing_once("Plain", PLAIN, culprit=1, restart=RESTART | {"inPlace": False})
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    first, second = lives(ran, 0)
    assert (first[0], first[2], second[0], second[2]) == (0, "job-worker-0-0", 1, "job-worker-1-0")
    assert (ran.status["attempt"], ran.status["podAttempt"]) == (1, 1)


def test_a_rank_that_fails_twice_gets_new_pods_and_all_restarts_are_counted(tmp_path: Path) -> None:
    script = LIFE + PLAIN + "if attempt < 3 and rank == 1: sys.exit(42)\nif attempt < 3: time.sleep(600)"
    job = plain_job(script, workers=2)
    job["spec"]["restart"] = RESTART | {"limit": 3}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert [life[0] for life in lives(ran, 0)] == [0, 1, 2, 3]
    assert [life[2] for life in lives(ran, 0)] == ["job-worker-0-0"] * 2 + [
        "job-worker-2-0",
        "job-worker-3-0",
    ]
    assert ran.status["restarts"]["failures"] == 3


@pytest.mark.parametrize("code", [1, 42])
def test_the_last_failure_ends_the_job_as_ever(tmp_path: Path, code: int) -> None:
    script = LIFE + f"if rank == 1: raise SystemExit({code})\nimport time; time.sleep(600)"
    job = plain_job(script, workers=2)
    job["spec"]["restart"] = RESTART
    ran = run(job, tmp_path)
    assert ran.code == 1
    assert (ran.status["failure"]["rank"], ran.status["failure"]["exitCode"]) == (1, code)
    assert ran.status["restarts"]["failures"] == (code == 42)
    reason = "restart.limit is 1" if code == 42 else "exit code 1 is not in restart.retryExitCodes (42)"
    failed = next(c for c in ran.status["conditions"] if c["type"] == "Failed")
    assert failed["message"].endswith(f"({reason})")
