"""Commands that start a launcher: refused where it would start every rank once more, or train alone."""

from __future__ import annotations

from typing import Any

import pytest

from ftjob.api.job import parse_job
from ftjob.api.rules.launchers import LAUNCHER_RULES
from ftjob.api.validate import validate


def said(*command: str, strategy: str = "Torchrun", gpus: int = 0, **spec: Any) -> list[str]:
    """Return what is said of a job's launcher."""
    limits = {"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}
    trainer = {"name": "trainer", "image": "i", "command": list(command), **limits}
    body = {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {"name": "digits"},
        "spec": {"strategy": strategy, "template": {"spec": {"containers": [trainer]}}, **spec},
    }
    remedies = {rule.remedy for rule in LAUNCHER_RULES}
    return [problem.message for problem in validate(parse_job(body)) if problem.remedy in remedies]


IN_A_SHELL = [
    "set -e; echo starting; torchrun --nproc_per_node=2 train.py",
    "cd /app && exec torchrun train.py",
    "NCCL_DEBUG=INFO torchrun \\\n  --nproc-per-node 2 \\\n  train.py",
    "# not torchrun\nif [ -f x ]; then\n  /opt/bin/torchrun train.py 2>&1 | tee log\nfi",
    "export A='a b'\nsource activate x\n(python -u -m torch.distributed.run train.py)",
    "time env A=1 nohup torchrun train.py &\nwait",
    "bash -c 'torchrun train.py'",
    "deepspeed --num_gpus=2 train.py --deepspeed ds.json",
    "accelerate launch --multi_gpu train.py || exit 3",
]
IN_FRONT = [
    ("/usr/local/bin/torchrun", "train.py"),
    ("python3", "-X", "dev", "-m", "torch.distributed.launch", "train.py"),
    ("python", "/opt/venv/bin/torchrun", "train.py"),
    ("env", "A=1", "torchrun", "train.py"),
    ("tini", "--", "torchrun", "train.py"),
    ("timeout", "-k", "5", "3600", "torchrun", "train.py"),
    ("nice", "-n", "5", "accelerate-launch", "train.py"),
    ("conda", "run", "-n", "base", "--no-capture-output", "torchrun", "train.py"),
    ("uv", "run", "torchrun", "train.py"),
    ("accelerate", "launch", "--num_processes", "4", "--num_machines", "2", "train.py"),
    ("python", "-m", "accelerate.commands.launch", "train.py"),
    ("deepspeed", "train.py"),
    ("horovodrun", "-np", "2", "python", "train.py"),
    ("mpirun", "-np", "2", "python", "train.py"),
]


@pytest.mark.parametrize("text", IN_A_SHELL)
def test_a_launcher_inside_a_shell_is_found(text: str) -> None:
    assert said("bash", "-euo", "pipefail", "-c", text, workers=1, processesPerWorker=2)
    assert said("/bin/sh", "-ec", text, gpus=2)


@pytest.mark.parametrize("command", IN_FRONT)
@pytest.mark.parametrize("strategy", ["Torchrun", "Horovod", "Plain"])
def test_a_launcher_is_found_behind_what_starts_it(command: tuple[str, ...], strategy: str) -> None:
    assert said(*command, strategy=strategy, processesPerWorker=2)


@pytest.mark.parametrize(
    "command",
    [
        ("python", "train.py", "--launcher", "torchrun"),
        ("python", "-c", "import torch.distributed.run"),
        ("bash", "-c", "echo 'use torchrun'; python train.py --note 'a; torchrun b'"),
        ("bash", "-c", "pip install accelerate deepspeed && which torchrun; python -m train"),
        ("bash", "-c", "# torchrun train.py\npython train.py"),
        ("bash", "-c", "echo it's\ntorchrun-like"),
        ("bash", "-c", "accelerate test; accelerate config default; python train.py"),
        ("env", "X=1", "./train", "torchrun"),
        ("bash", "torchrun.sh", "-c", "torchrun"),
        ("sh", "-c", ""),
        ("sh", "-c"),
        ("exec",),
        ("",),
    ],
)
def test_what_only_names_a_launcher_is_none(command: tuple[str, ...]) -> None:
    assert said(*command, processesPerWorker=2) == []


@pytest.mark.parametrize("command", [*IN_FRONT[:11], ("bash", "-c", IN_A_SHELL[0])])
def test_one_launcher_a_worker_starts_the_workers_processes(command: tuple[str, ...]) -> None:
    assert said(*command, processesPerWorker=1) == []
    assert said("torchrun", "--nproc-per-node=8", "train.py", gpus=8, processesPerWorker=1, workers=2) == []


ALONE = [
    ("torchrun", "--standalone", "train.py"),
    ("bash", "-c", "torchrun --nnodes 1 --nproc_per_node=2 train.py"),
    ("torchrun", "--nnodes=1:1", "train.py"),
    ("accelerate", "launch", "--num_processes", "4", "--num_machines", "2", "train.py"),
    ("deepspeed", "train.py"),
    ("sh", "-c", "deepspeed --num_gpus 2 train.py"),
    ("horovodrun", "-np", "2", "python", "train.py"),
    ("mpirun", "-np", "2", "python", "train.py"),
]
TOLD = [
    ("torchrun", "train.py"),
    ("torchrun", "--nnodes=2", "train.py"),
    ("accelerate", "launch", "train.py"),
    ("accelerate", "launch", "--num_machines=2", "--machine_rank=$(GROUP_RANK)", "train.py"),
    ("accelerate", "launch", "--config_file", "a.yaml", "--num_machines", "2", "train.py"),
    ("deepspeed", "--no_ssh", "--node_rank", "$(GROUP_RANK)", "train.py"),
]


@pytest.mark.parametrize("command", ALONE)
def test_a_launcher_that_does_not_know_of_the_other_workers_is_refused(command: tuple[str, ...]) -> None:
    (message,) = said(*command, workers=2, processesPerWorker=1)
    assert "without the others" in message
    assert said(*command, workers=1, processesPerWorker=1) == []
    assert said(*command, strategy="Plain", workers=2, processesPerWorker=1) == []


@pytest.mark.parametrize("command", TOLD)
def test_a_launcher_that_knows_of_the_other_workers_is_not(command: tuple[str, ...]) -> None:
    assert said(*command, workers=2, processesPerWorker=1) == []


def test_the_message_names_the_launcher() -> None:
    (message,) = said("bash", "-c", "deepspeed train.py", processesPerWorker=2)
    assert "starts deepspeed, and so each of a worker's several ranks" in message
