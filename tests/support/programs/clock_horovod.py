"""Trains by Horovod on torch; rank 1 takes longer, in its input and then in its backward pass."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import horovod.torch as hvd
import torch
from torch.utils.data import DataLoader, Dataset

STEPS = 10
hvd.init()
slow = hvd.rank() == 1
slept = [0.0]


def nap(milliseconds: float) -> None:
    if milliseconds:
        began = time.perf_counter()
        time.sleep(milliseconds / 1000)
        slept[0] += (time.perf_counter() - began) * 1000


class Data(Dataset[torch.Tensor]):
    milliseconds = 0.0

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> torch.Tensor:
        nap(self.milliseconds)
        return torch.ones(32)


model = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.Linear(32, 4))
optimizer = hvd.DistributedOptimizer(
    torch.optim.SGD(model.parameters(), lr=1e-6), named_parameters=model.named_parameters()
)
hvd.broadcast_parameters(model.state_dict(), root_rank=0)
data, step = Data(), 0
for way, of_data, of_backward in (("input", 20 * slow, 0), ("backward", 0, 12 * slow)):
    data.milliseconds = of_data
    steps, batches, began = [], iter(DataLoader(data)), time.perf_counter()
    for _ in range(STEPS):
        asked = time.perf_counter()
        batch = next(batches)
        got = time.perf_counter()
        inner, slept[0] = slept[0], 0.0
        optimizer.zero_grad()
        output = model(batch)
        output.register_hook(lambda _gradient, length=of_backward: nap(length))
        output.sum().backward()
        optimizer.step()
        step += 1
        now = time.perf_counter()
        spent = {"whole": (now - began) * 1000, "input": (got - asked) * 1000}
        steps.append({"step": step, "inner": inner, "planted": slept[0], **spent})
        slept[0], began = 0.0, now
    with Path(os.environ["FTJOB_RANK_DIR"], "truth.jsonl").open("a") as file:
        file.write(json.dumps({"way": way, "steps": steps}) + "\n")
