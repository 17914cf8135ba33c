"""A torch loop under Horovod that knows nothing of ftjob; at the end it prints `STEPS=<optimizer steps>`."""

import argparse
import os
import signal
import time

import horovod.torch as hvd
import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--step-seconds", type=float, default=0.0)
parser.add_argument("--fail-rank", type=int)
parser.add_argument("--fail-how", choices=["exception", "exit", "sigkill"], default="exception")
parser.add_argument("--fail-step", type=int, default=10)
args = parser.parse_args()

hvd.init()
torch.manual_seed(hvd.rank())
torch.set_num_threads(1)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(labels)
hidden = nn.Linear(64, 32)
model = nn.Sequential(hidden, nn.ReLU(), nn.Linear(32, 10))
hvd.broadcast_parameters(model.state_dict(), root_rank=0)
hvd.broadcast_optimizer_state(
    torch.optim.Adam(model.parameters()), root_rank=0
)  # which steps, to fill the state
optimizer = hvd.DistributedOptimizer(
    torch.optim.Adam(model.parameters(), lr=1e-3), named_parameters=model.named_parameters()
)


def fail() -> None:
    print(f"fails at {time.time()}", flush=True)
    if args.fail_how == "exit":
        os._exit(7)
    if args.fail_how == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError(f"rank {hvd.rank()} fails on purpose at step {args.fail_step}")


for step in range(args.steps):
    if hvd.rank() == args.fail_rank and step == args.fail_step:
        fail()
    rows = (torch.arange(32) + 32 * (step * hvd.size() + hvd.rank())) % len(x)
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    time.sleep(args.step_seconds)

print(f"STEPS={int(optimizer.state[hidden.weight]['step'])}")
