"""Programs under the launchers of their frameworks, which give their ranks numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.differential import Program, same

if TYPE_CHECKING:
    from pathlib import Path

SUMS = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(total)
print(f"rank {dist.get_rank()} local {os.environ['LOCAL_RANK']} sum {total.item()}\\n", end="")
dist.destroy_process_group()
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
