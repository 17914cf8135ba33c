"""Data-parallel torch by hand; one rank waits for its data for ever, in the first attempt."""

import argparse
import os
import time

import torch
import torch.distributed as dist
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--hang-rank", type=int, default=-1)
parser.add_argument("--hang-step", type=int, default=5)
parser.add_argument("--hang-attempt", type=int, default=0)
parser.add_argument("--steps", type=int, default=12)
args = parser.parse_args()


def load(step: int) -> torch.Tensor:
    """Give a batch, or never."""
    if (rank, step, attempt) == (args.hang_rank, args.hang_step, args.hang_attempt):
        time.sleep(3600)
    return torch.randn(8, 4)


def average(parameters: list[nn.Parameter]) -> None:
    """Let all ranks have the same gradients."""
    for parameter in parameters:
        assert parameter.grad is not None
        dist.all_reduce(parameter.grad)
        parameter.grad /= dist.get_world_size()


torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, attempt = dist.get_rank(), int(os.environ.get("FTJOB_ATTEMPT", "0"))
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(args.steps):
    batch = load(step)
    loss = model(batch).square().mean()
    optimizer.zero_grad()
    loss.backward()
    average(list(model.parameters()))
    optimizer.step()
    print(f"rank {rank}: step {step} done", flush=True)
dist.destroy_process_group()  # else its threads may abort the process at its end
