"""`ftjob run` of slow jobs: the verdict names the rank and the line, without being asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

# The sleeps stand for work of a device: they leave the cores to others.
TRAIN = """
import os, time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

class Rows(Dataset):
    def __len__(self):
        return 8 * 400

    def __getitem__(self, place):
        if os.environ["RANK"] == "1":
            time.sleep(0.005)
        return torch.ones(16), torch.ones(1)

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for rows, targets in DataLoader(Rows(), batch_size=8):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(rows), targets)
    time.sleep(0.05)
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
"""


def slow_job(folder: Path, **spec: Any) -> dict[str, Any]:
    script = folder / "train.py"
    script.write_text(TRAIN)
    job = plain_job("", name="slow", workers=2, command=["python3", str(script)], args=[])
    job["spec"] |= {"strategy": "Torchrun", **spec}
    return job


def test_the_rank_whose_data_come_late_is_named_with_its_line(tmp_path: Path) -> None:
    ran = run(slow_job(tmp_path), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    profile = ran.status["profile"]
    (found, *_) = profile["findings"]
    assert (found["kind"], found["ranks"], found["cause"]) == ("Straggler", "1", "Input")
    assert found["line"].startswith("train.py:14 __getitem__")
    assert 0.2 < found["costShare"] < 0.7
    assert [late["rank"] for late in profile["stragglers"]] == [1]
    assert "rank 1" in profile["verdict"]
    assert f"ftjob: {profile['verdict']}\n" in ran.stdout
    assert f"verdict:  {profile['verdict']}\n          {found['next']}\n" in ran.stdout
    lines = (ran.outputs / "vitals" / "rank-00001.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["inputMs"][0] > 30


def test_a_job_that_is_not_to_be_profiled_is_not_measured(tmp_path: Path) -> None:
    script = 'import os; print("clock", os.environ.get("FTJOB_CLOCK"))'
    job = plain_job(script)
    job["spec"]["profiling"] = {"mode": "Off"}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "clock None\n" in ran.log(0)
    assert "profile" not in ran.status
