"""Launchers as people start them: one for each worker, or refused with the remedy, never ranks by ranks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

SUMS = """
import os
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1])
dist.all_reduce(total)
said = f"FOUND {dist.get_rank()} {dist.get_world_size()} {total.item()} {dist.is_torchelastic_launched()}\\n"
os.write(1, said.encode())  # in one piece: two ranks share a pipe
dist.destroy_process_group()
"""

EVALUATES = """
import runpy, os, subprocess, sys
runpy.run_path("sums.py")
if os.environ["RANK"] == "0":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1", "sums.py"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PET_")}
    subprocess.run(command, check=True, env=env)
"""


def torch_job(*command: str, workers: int = 1, processes: int = 1) -> dict[str, Any]:
    job = plain_job("", workers=workers, processes=processes, command=list(command), args=[])
    job["spec"]["strategy"] = "Torchrun"
    return job


def found(log: str) -> list[str]:
    return re.findall(r"FOUND .*", log)


def test_a_launcher_in_a_script_starts_its_workers_processes_and_knows_the_others(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(SUMS)
    (tmp_path / "train.sh").write_text("set -e\ntorchrun --nproc-per-node=2 sums.py\n")
    ran = run(torch_job("bash", "train.sh", workers=2), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    said = sorted(found(ran.log(0)) + found(ran.log(1)))
    assert said == [f"FOUND {rank} 4 10 True" for rank in range(4)]


@pytest.mark.parametrize(
    ("script", "launcher"),
    [
        ("torchrun --standalone --nproc-per-node=2 sums.py", "torchrun"),
        ("RUN='horovodrun -np 2'\n$RUN python sums.py", "horovodrun"),
    ],
)
def test_a_launcher_that_a_script_hides_is_stopped_in_each_of_several_ranks(
    tmp_path: Path, script: str, launcher: str
) -> None:
    (tmp_path / "sums.py").write_text(SUMS)
    (tmp_path / "train.sh").write_text(script)
    ran = run(torch_job("bash", "train.sh", processes=2), tmp_path)
    assert ran.code == 1
    message = ran.status["failure"]["message"]
    assert f"{launcher} was started in each of the 2 ranks of a worker" in message
    assert "processesPerWorker: 1" in message
    assert found(ran.log(0)) == found(ran.log(1)) == []


def test_ranks_are_launched_as_by_torchrun_and_one_of_them_may_launch_an_evaluation(tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(SUMS)
    (tmp_path / "train.py").write_text(EVALUATES)
    ran = run(torch_job("python", "train.py", processes=2), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert found(ran.log(0)) == ["FOUND 0 2 3 True", "FOUND 0 1 1 True"]
    assert found(ran.log(1)) == ["FOUND 1 2 3 True"]


def test_a_launcher_in_the_command_is_refused_before_anything_starts(tmp_path: Path) -> None:
    ran = run(torch_job("sh", "-c", "cd . && torchrun sums.py", processes=2), tmp_path)
    assert ran.code == 2
    assert "starts torchrun" in ran.stderr
    assert "set processesPerWorker: 1" in ran.stderr
