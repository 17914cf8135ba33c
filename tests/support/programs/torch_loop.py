"""A plain torch loop that knows nothing of ftjob; prints `STEPS=<what its optimizer counted>` at the end."""

import argparse
import os
import signal
import time

import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--mode", choices=["plain", "two-optimizers", "accumulate"], default="plain")
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--step-seconds", type=float, default=0.0)
parser.add_argument("--fail-rank", type=int)
parser.add_argument("--fail-how", choices=["exception", "exit", "sigkill"], default="exception")
parser.add_argument("--fail-step", type=int, default=10)
args = parser.parse_args()
rank = int(os.environ.get("FTJOB_RANK", os.environ.get("RANK", "0")))

torch.manual_seed(rank)
torch.set_num_threads(1)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(labels)
hidden, out = nn.Linear(64, 32), nn.Linear(32, 10)
model = nn.Sequential(hidden, nn.ReLU(), out)
optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3)]
if args.mode == "two-optimizers":
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (hidden, out)]
parts = 4 if args.mode == "accumulate" else 1


def fail() -> None:
    print(f"fails at {time.time()}", flush=True)
    if args.fail_how == "exit":
        os._exit(7)
    if args.fail_how == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError(f"rank {rank} fails on purpose at step {args.fail_step}")


for step in range(args.steps):
    if rank == args.fail_rank and step == args.fail_step:
        fail()
    for optimizer in optimizers:
        optimizer.zero_grad()
    for part in range(parts):
        rows = torch.arange(32) + 32 * (step * parts + part)
        loss = nn.functional.cross_entropy(model(x[rows % len(x)]), y[rows % len(y)]) / parts
        loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    time.sleep(args.step_seconds)

print(f"STEPS={int(optimizers[0].state[hidden.weight]['step'])}")
