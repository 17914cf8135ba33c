"""Programs under the launchers of their frameworks, which give their ranks numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.differential import Program, same

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
