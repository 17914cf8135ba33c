"""What a job's ranks see of a machine's GPUs, with a program in place of NVIDIA's that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import Ran, plain_job, run

from ftjob.api.job import Job, parse_job
from ftjob.local.gpus import deal
from ftjob.plan.layout import local_layout, local_port_count

if TYPE_CHECKING:
    from pathlib import Path

SAY = "import os; print('SEES', repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"


def asking(gpus: int, *, workers: int = 2, processes: int = 1, **trainer: Any) -> dict[str, Any]:
    limits = {"limits": {"nvidia.com/gpu": gpus}} if gpus else {}
    return plain_job(SAY, workers=workers, processes=processes, resources=limits, **trainer)


def run_with(gpus: str | None, job: dict[str, Any], folder: Path, **env: str) -> Ran:
    """Run a job where `nvidia-smi` prints so, or where there is none."""
    (folder / "bin").mkdir()
    env["PATH"] = str(folder / "bin")
    if gpus is not None:
        smi = folder / "bin" / "nvidia-smi"
        smi.write_text(f"#!/bin/sh\n{gpus}\n")
        smi.chmod(0o755)
    ran = run(job, folder, **env)
    assert ran.code == 0, ran.stdout + ran.stderr
    return ran


def seen(ran: Ran, *ranks: int) -> list[str]:
    return [ran.log(rank).rpartition("SEES ")[2].split("\n")[0].strip("'") for rank in ranks]


FOUR = "printf '0\\n1\\n2\\n3\\n'"


def test_each_worker_sees_the_gpus_that_it_asks_for(tmp_path: Path) -> None:
    ran = run_with(FOUR, asking(2, processes=2), tmp_path)
    assert seen(ran, 0, 1, 2, 3) == ["0,1", "0,1", "2,3", "2,3"]
    assert "GPUs" not in ran.stdout


def test_they_come_from_those_that_the_caller_may_use(tmp_path: Path) -> None:
    ran = run_with(FOUR, asking(1), tmp_path, CUDA_VISIBLE_DEVICES="3, 1")
    assert seen(ran, 0, 1) == ["3", "1"]


@pytest.mark.parametrize("gpus", [None, "exit 9", "printf '0\\n'"], ids=["none", "no driver", "too few"])
def test_where_there_are_too_few_nobody_gets_any_and_the_user_is_told(
    tmp_path: Path, gpus: str | None
) -> None:
    ran = run_with(gpus, asking(1), tmp_path)
    assert seen(ran, 0, 1) == ["", ""]
    number = 1 if gpus and "printf" in gpus else 0
    assert f"the job asks for 2 GPUs and this machine has {number}: its ranks see none" in ran.stdout


def test_who_asks_for_none_sees_none_as_in_a_pod(tmp_path: Path) -> None:
    ran = run_with(FOUR, asking(0), tmp_path)
    assert seen(ran, 0, 1) == ["", ""]
    assert "set `nvidia.com/gpu` under the trainer's resources.limits" in ran.stdout


def test_what_the_job_itself_says_stands(tmp_path: Path) -> None:
    own = [{"name": "CUDA_VISIBLE_DEVICES", "value": "7"}]
    assert seen(run_with(FOUR, asking(1, env=own), tmp_path), 0, 1) == ["7", "7"]


def test_a_role_that_asks_for_none_takes_none() -> None:
    body = asking(1)
    chief = {"template": asking(0)["spec"]["template"]}
    body["spec"] |= {"strategy": "ParameterServer", "roles": {"chief": chief}}
    job = parse_job(body)
    assert isinstance(job, Job)
    layout = local_layout(job, 0, tuple(range(20000, 20000 + local_port_count(job))))
    assert deal(layout, ("0", "1", "2", "3")) == {
        ("chief", 0): (),
        ("worker", 0): ("0",),
        ("worker", 1): ("1",),
        ("ps", 0): ("2",),
    }
