"""Programs under the launchers of their frameworks, which give their ranks numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.differential import Program, same
from support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

SUMS = """
import os, torch, torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

@record
def main():
    dist.init_process_group("gloo")
    total = torch.tensor([float(dist.get_rank() + 1)])
    dist.all_reduce(total)
    said = [f"rank {dist.get_rank()} sum {total.item()} launched {dist.is_torchelastic_launched()}"]
    said += [f"{name}={os.environ[name]}" for name in EQUAL]
    said += [name for name in OTHERS if name in os.environ]
    print(" ".join(said) + "\\n", end="")
    dist.destroy_process_group()

EQUAL = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE".split()
EQUAL += ["ROLE_" + name for name in ("RANK", "WORLD_SIZE", "NAME")]
EQUAL += ["TORCHELASTIC_" + name for name in ("RESTART_COUNT", "MAX_RESTARTS")]
OTHERS = ["MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE"]
main()
"""
LOOKS = """
import os, sys
found = {name: os.environ.get(name) for name in sys.argv[1:]}
sys.stdout.write(f"rank {found}\\n")
"""
"""Ranks share a pipe under torchrun, so a line is one write."""
NUMBERS: tuple[str, ...] = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
)
NUMBERS += ("ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME", "TORCHELASTIC_RESTART_COUNT")
MEETS = """
import os, socket, sys, time
rank, count = int(os.environ["PROCESS_ID"]), int(os.environ["NUM_PROCESSES"])
place = (os.environ["COORDINATOR_ADDRESS"], int(os.environ["COORDINATOR_PORT"]))
if rank == 0:
    server = socket.create_server(("", place[1]))
    numbers = sorted(server.accept()[0].recv(9).decode() for _ in range(count - 1))
    print("rank 0 met", numbers)
else:
    while True:
        try:
            socket.create_connection(place).sendall(str(rank).encode())
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
"""
"""Written for Kubeflow's JAXJob, without JAX."""
JAX_JOB = "export NUM_PROCESSES=3 COORDINATOR_ADDRESS=localhost COORDINATOR_PORT={}; "
JAX_JOB += "for id in 0 1 2; do PROCESS_ID=$id python train.py & done; wait"
IN_TURN = "for rank in 0 1 2; do python train.py {} & done; wait"
WRITES_ITS_PART = """
import sys
with open(f"part-{sys.argv[1]}", "w") as file:
    file.write(" ".join(sys.argv))
"""


def test_torchrun_and_ftjob_give_ranks_the_same_numbers(tmp_path: Path) -> None:
    same(
        Program(
            command=("python", "train.py"),
            bare=("torchrun", "--standalone", "--nproc-per-node=2", "train.py"),
            files={"train.py": SUMS},
            strategy="Torchrun",
            processes=2,
            own="^rank",
        ),
        tmp_path,
    )


def test_two_nodes_of_torchrun_and_two_workers_have_the_same_numbers(tmp_path: Path) -> None:
    node = f"torchrun --nnodes=2 --nproc-per-node=2 --master-addr=127.0.0.1 --master-port={free_port()}"
    command = ("python", "train.py", *NUMBERS)
    script = f"{node} --node-rank=$node {' '.join(command[1:])}"
    same(
        Program(
            command=command,
            bare=("bash", "-c", f"for node in 0 1; do {script} & done; wait"),
            files={"train.py": LOOKS},
            strategy="Torchrun",
            workers=2,
            processes=2,
            own="^rank",
        ),
        tmp_path,
    )


@pytest.mark.parametrize(
    ("command", "strategy"),
    [
        (("bash", "-c", "set -e; echo starting; torchrun --nproc-per-node=2 train.py RANK"), "Torchrun"),
        (("sh", "start.sh", "train.py", "WORLD_SIZE"), "Plain"),
    ],
    ids=["hidden", "script"],
)
def test_a_launcher_in_a_shell_starts_as_many_ranks_as_without_ftjob(
    tmp_path: Path, command: tuple[str, ...], strategy: str
) -> None:
    start = 'exec python -m torch.distributed.run --standalone --nproc-per-node 2 "$@"'
    files = {"train.py": LOOKS, "start.sh": start}
    program = Program(command=command, files=files, strategy=strategy, own="^rank", in_any_order=True)
    assert len(same(program, tmp_path).lines) == 2


def test_a_program_for_kubeflows_jax_job_finds_its_coordinator(tmp_path: Path) -> None:
    program = Program(
        command=("python", "train.py"),
        bare=("bash", "-c", JAX_JOB.format(free_port())),
        files={"train.py": MEETS},
        strategy="JAX",
        workers=3,
    )
    assert same(program, tmp_path).lines == ["rank 0 met ['1', '2']"]


@pytest.mark.parametrize(
    ("strategy", "arguments"),
    [
        ("Plain", ("$(JOB_COMPLETION_INDEX)", "$(SEED)", "$$(RANK)", "$(NOBODYS)")),
        ("Torchrun", ("$(RANK)", "--of=$(WORLD_SIZE)", "$(SEED)$(LOCAL_RANK)")),
    ],
)
def test_each_rank_finds_its_own_numbers_in_its_arguments(
    tmp_path: Path, strategy: str, arguments: tuple[str, ...]
) -> None:
    theirs = {
        "Plain": "$rank 7 '$(RANK)' '$(NOBODYS)'",
        "Torchrun": "$rank --of=3 70",
    }
    program = Program(
        command=("python", "train.py"),
        bare=("bash", "-c", IN_TURN.format(theirs[strategy])),
        files={"train.py": WRITES_ITS_PART},
        strategy=strategy,
        workers=3,
        trainer={"args": list(arguments), "env": [{"name": "SEED", "value": "7"}]},
    )
    assert len(same(program, tmp_path).files) == 4
