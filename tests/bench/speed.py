"""Measures the speed of programs under ftjob beside their own launchers, torchrun and horovodrun, in turns.

Each run trains with two ranks, first with steps of 5 ms, then of 50 and of 500 ms, and times each of these
parts itself: no start-up is in it. A ratio compares two runs, one after the other, under both launchers: at 1
ftjob's is as fast as the bare one, at 0.99 one percent slower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from support.differential import Program, bare, ours

TARGET = 0.99
STEPS = {"5 ms": 400, "50 ms": 80, "500 ms": 16}
WORK = """
import torch

torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256))
x = torch.randn(64, 256)

def work(rounds):
    for _ in range(rounds):
        net(x).square().mean().backward()
"""
CALIBRATE = """
import time
work(100)
times = []
for _ in range(15):
    start = time.perf_counter()
    work(20)
    times.append(time.perf_counter() - start)
print(0.1 / sorted(times)[7])
"""
TORCH = """
import torch.distributed as dist
dist.init_process_group("gloo")
rank, optimizer = dist.get_rank(), torch.optim.SGD(net.parameters(), lr=1e-6)

def step(rounds):
    optimizer.zero_grad()
    work(rounds)
    dist.all_reduce(net[0].weight.grad)
    optimizer.step()

barrier = dist.barrier
"""
HOROVOD = """
import horovod.torch as hvd
hvd.init()
rank, optimizer = hvd.rank(), torch.optim.SGD(net.parameters(), lr=1e-6)

def step(rounds):
    optimizer.zero_grad()
    work(rounds)
    hvd.allreduce(net[0].weight.grad, name="grad")
    optimizer.step()

barrier = hvd.barrier
"""
MEASURE = """
import sys, time
for name, rounds, steps in zip(sys.argv[1::3], map(int, sys.argv[2::3]), map(int, sys.argv[3::3])):
    for _ in range(3):
        step(rounds)
    barrier()
    start = time.perf_counter()
    for _ in range(steps):
        step(rounds)
    barrier()
    if rank == 0:
        print("took", name, (time.perf_counter() - start) / steps, flush=True)
"""
LAUNCHERS = {
    "Torchrun": (TORCH, ("torchrun", "--standalone", "--nproc-per-node=2")),
    "Horovod": (HOROVOD, ("horovodrun", "--gloo", "-np", "2", "python")),
}


def rounds_of_5_ms() -> float:
    """Return how often the machine does the work in 5 ms, by one process that has a core for itself."""
    done = subprocess.run(
        [sys.executable, "-c", WORK + CALIBRATE], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def program(strategy: str, rounds: float, share: float) -> Program:
    """Return a program that makes all three kinds of steps; `share` of the steps of a whole run."""
    framework, launcher = LAUNCHERS[strategy]
    arguments = [
        text
        for name, steps in STEPS.items()
        for text in (
            name.replace(" ", ""),
            str(max(1, round(rounds * int(name.split()[0]) / 5))),
            str(max(1, round(steps * share))),
        )
    ]
    return Program(
        command=("python", "train.py", *arguments),
        bare=(*launcher, "train.py", *arguments),
        files={"train.py": WORK + framework + MEASURE},
        strategy=strategy,
        processes=2,
        env={"OMP_NUM_THREADS": "1"},
        own="^took",
        timeout=900,
    )


def step_seconds(measured: Program, *, by_ftjob: bool) -> list[float]:
    """Run the program once; return the seconds of a step, one for each kind."""
    with tempfile.TemporaryDirectory(prefix="ftjob-bench-") as folder:
        outcome = (ours if by_ftjob else bare)(measured, Path(folder))
    if outcome.code != 0 or len(outcome.lines) != len(STEPS):
        raise RuntimeError(outcome.console)
    found = dict(line.split()[1:] for line in outcome.lines)
    return [float(found[name.replace(" ", "")]) for name in STEPS]


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps of a whole run")
    options = parser.parse_args()
    rounds = rounds_of_5_ms()
    print(f"speed of two ranks beside the bare launcher, target {TARGET}, {os.cpu_count()} cores")
    for strategy, (_, launcher) in LAUNCHERS.items():
        measured = program(strategy, rounds, options.share)
        found: dict[bool, list[list[float]]] = {True: [], False: []}
        for repetition in range(options.repetitions):
            for by_ftjob in (True, False) if repetition % 2 == 0 else (False, True):
                found[by_ftjob].append(step_seconds(measured, by_ftjob=by_ftjob))
        for place, name in enumerate(STEPS):
            theirs, mine = ([run[place] for run in found[way]] for way in (False, True))
            ratios = sorted(one / other for one, other in zip(theirs, mine, strict=True))
            print(
                f"  {strategy:8} steps of {name:6}: {statistics.median(ratios):.3f} of {launcher[0]}'s speed"
                f" ({ratios[0]:.3f} to {ratios[-1]:.3f}); medians {statistics.median(mine) * 1e3:.2f} ms,"
                f" {launcher[0]} {statistics.median(theirs) * 1e3:.2f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
