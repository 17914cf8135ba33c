"""Prints what the clock and the sampler cost a rank: each hook by itself, and all of them in a training.

The training has steps of 20 ms with ten collectives, as two ranks, and is measured with and without the clock
in turns: a block of steps of one is compared with the block of the other beside it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.hook_env import hooks_in, rank_env
from support.ports import free_port

PAIRS = int(os.environ.get("FTJOB_PAIRS", "12"))
STEPS = 50
PARTS = """
import os, sys, time
from ftjob_hooks.clock import collectives, inputs, recorder, sampler, ticker
from ftjob_hooks.clock.ring import Ring

clock = recorder.current
clock.begin(Ring(os.path.join(os.environ["FTJOB_RANK_DIR"], "clock.bin"), 1), 0)
nothing = lambda *_: None
wait, following = collectives._waiting(nothing), inputs._timed(nothing)
seen = sampler.Sampler()

def deep(depth):
    return deep(depth - 1) if depth else cost(seen.tick, 200)

def cost(call, times=20_000):
    best = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(times):
            call()
        best.append((time.perf_counter() - began) / times * 1e6)
    return min(best)

base = cost(nothing)
print(f"  a wait {cost(wait) - base:.2f} us,", end="")
print(f" a batch {cost(lambda: following(None)) - cost(lambda: nothing(None)):.2f} us,", end="")
print(f" a collective {cost(lambda: collectives._before_collective(None)) - base:.2f} us,", end="")
print(f" the end of a step {cost(lambda: clock.ended(1, 1, 'torch')):.2f} us")
tick = deep(30)
print(f"  a sample of 30 frames {tick:.0f} us: {tick / 1e6 / ticker.PERIOD:.2%} of a core")
"""
TRAINING = """
import os, sys, time
import torch
from torch import distributed as dist
dist.init_process_group("gloo")
weight = torch.nn.Parameter(torch.ones(4))
weight.grad = torch.zeros(4)
optimizer = torch.optim.SGD([weight], lr=0.1)
data = torch.utils.data.DataLoader(torch.zeros(1_000_000, 1))
batches, small = iter(data), torch.ones(8)
print("ready", flush=True)
for line in sys.stdin:
    dist.barrier()
    began = time.perf_counter()
    for _ in range(int(line)):
        next(batches)
        end = time.perf_counter() + 0.018
        for _ in range(10):
            dist.all_reduce(small)
        while time.perf_counter() < end:
            weight + 1
        optimizer.step()
    print(time.perf_counter() - began, flush=True)
"""


class Training:
    """Two ranks that wait to be told to make steps."""

    def __init__(self, hooks: Path, folder: Path, clock: dict[str, object]) -> None:
        port = free_port()
        self._ranks = []
        for rank in range(2):
            own = folder / f"rank-{rank}"
            own.mkdir(parents=True)
            place = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            told = {
                "FTJOB_RANK": rank,
                "FTJOB_WORLD_SIZE": 2,
                "OMP_NUM_THREADS": 1,
                "CUDA_VISIBLE_DEVICES": "",
            }
            self._ranks.append(
                subprocess.Popen(
                    [sys.executable, "-c", TRAINING],
                    env=rank_env(hooks, own, **place, **told, **clock),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for process in self._ranks:
            assert process.stdout is not None
            process.stdout.readline()

    def steps(self, count: int) -> float:
        """Return the seconds of so many steps."""
        for rank in self._ranks:
            assert rank.stdin is not None
            rank.stdin.write(f"{count}\n")
            rank.stdin.flush()
        return max(float(rank.stdout.readline()) for rank in self._ranks if rank.stdout is not None)

    def end(self) -> None:
        """Have them end."""
        for rank in self._ranks:
            rank.communicate()


def main() -> None:
    """Measure the parts, then the whole."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        hooks = hooks_in(folder / "ftjob-agent.pyz")
        print("clock and sampler")
        alone = folder / "alone"
        alone.mkdir()
        subprocess.run([sys.executable, "-c", PARTS], env=rank_env(hooks, alone), check=True)
        off = Training(hooks, folder / "off", {})
        on = Training(hooks, folder / "on", {"FTJOB_CLOCK": 1})
        for training in (off, on):
            training.steps(STEPS)
        ratios, steps = [], []
        for pair in range(PAIRS):
            first, second = (off, on) if pair % 2 else (on, off)
            times = {first: first.steps(STEPS), second: second.steps(STEPS)}
            ratios.append(times[on] / times[off])
            steps.append(times[off] / STEPS * 1000)
            time.sleep(0.1)
        for training in (off, on):
            training.end()
    ratios.sort()
    print(
        f"  a step of {statistics.median(steps):.1f} ms with 10 collectives, 2 ranks: "
        f"x {statistics.median(ratios):.4f} ({ratios[0]:.4f} to {ratios[-1]:.4f}, {PAIRS} pairs; target 1.01)"
    )


if __name__ == "__main__":
    main()
