"""Measures what torch captures do to a training: how its end holds it up, and how evenly ranks begin.

A program times its own steps, of so many operations that the capture has a known number of events. The stall
is the longest of the steps in which the capture ends and is written, less the median step. Two ranks that
step together are captured several times: how far apart they begin, and what the steps after a capture take
beside those before.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from support.differential import Program, ours

ACTIVE = 5
"""Steps of a capture."""
BEGINS = 10
STEPS = 60
LIMITS = {6_000: 0.1, 100_000: 1.0}
"""Seconds that a capture of so many events may hold the training up."""
TRAIN = """
import json, sys, time, torch
torch.set_num_threads(1)
weight = torch.nn.Parameter(torch.ones(8))
weight.grad = torch.zeros(8)
optimizer, total, times, work = torch.optim.SGD([weight], lr=0.1), torch.zeros(8), [], []
for step in range(int(sys.argv[1])):
    began, worked = time.perf_counter(), time.thread_time()
    for _ in range(int(sys.argv[2])):
        total = total.add(weight.detach())
    optimizer.step()
    times.append(time.perf_counter() - began)
    work.append(time.thread_time() - worked)
print("TIMES", json.dumps([times, work]))
"""
SCHEDULE = {"skipFirst": BEGINS - 1, "wait": 0, "warmup": 1, "active": ACTIVE, "repeat": 1}
TOGETHER = """
import json, sys, time, torch
from torch import distributed, nn
torch.set_num_threads(1)
distributed.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Linear(64, 64))
optimizer, times = torch.optim.SGD(model.parameters(), lr=0.1), []
for step in range(int(sys.argv[1])):
    began = time.perf_counter()
    optimizer.zero_grad()
    model(torch.ones(8, 64)).square().mean().backward()
    optimizer.step()
    time.sleep(0.02)
    times.append(time.perf_counter() - began)
if distributed.get_rank() == 0:
    print("TIMES", json.dumps(times))
"""
AROUND = 10
"""Steps before and after a capture that are compared."""
CAPTURES = 5
APART = {"skipFirst": 20, "wait": 40, "warmup": 1, "active": ACTIVE, "repeat": CAPTURES}
SKEW, SLOWER = 10.0, 1.01
"""Milliseconds between the first and the last rank's begin; steps after by steps before."""


@dataclass(frozen=True)
class Stall:
    """Seconds that a run was held up."""

    wall: float
    work: float
    """Processor time of the training's thread, which other programs of this machine do not change."""
    events: int
    """Of the capture."""


def stall(events: int, *, captured: bool) -> Stall:
    """Run once."""
    spec: dict[str, Any] = {"outputs": {}}
    if captured:
        spec["profiling"] = {"mode": "Scheduled", "schedule": SCHEDULE}
    operations = str(events // ACTIVE // 3)  # each has three events
    program = Program(
        command=("python", "train.py", str(STEPS), operations), files={"train.py": TRAIN}, spec=spec
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = ours(program, Path(folder))
        found = re.search("TIMES (.*)", outcome.console)
        assert found, outcome.console
        wall, work = (max(times[BEGINS + ACTIVE - 1 :]) - median(times) for times in json.loads(found[1]))
        traces = list(outcome.outputs.glob("captures/*/raw/*/*.pt.trace.json.gz"))
        seen = sum(len(json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]) for path in traces)
    return Stall(wall, work, seen)


def begin_together() -> tuple[list[float], list[float]]:
    """Return of each capture by how many milliseconds the ranks' begins differ, and after by before."""
    steps = APART["skipFirst"] + CAPTURES * (APART["wait"] + APART["warmup"] + ACTIVE) + 40
    program = Program(
        command=("python", "train.py", str(steps)),
        files={"train.py": TOGETHER},
        strategy="Torchrun",
        workers=2,
        spec={
            "outputs": {},
            "profiling": {"mode": "Scheduled", "schedule": APART, "ranks": "0-1"},
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = ours(program, Path(folder))
        found = re.search(r"TIMES (\[.*\])", outcome.console)
        assert found, outcome.console
        times = json.loads(found[1])
        skews, ratios = [], []
        for capture in sorted(outcome.outputs.glob("captures/*")):
            done = [json.loads(path.read_text()) for path in capture.glob("raw/*/done.json")]
            assert len(done) == program.ranks, capture
            began = [rank["startNs"] for rank in done]
            skews.append((max(began) - min(began)) / 1e6)
            first, last = done[0]["firstStep"] - 2, done[0]["lastStep"]  # its warm-up is none of those before
            after, before = times[last + 1 : last + 1 + AROUND], times[first - AROUND : first]
            ratios.append(median(after) / median(before))
    return skews, ratios


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    for events, limit in LIMITS.items():
        runs = [(stall(events, captured=True), stall(events, captured=False)) for _ in range(options.runs)]
        print(f"the end of a capture of {runs[0][0].events} events; {1e3 * limit:.0f} ms are allowed")
        for name, of_it in (("with", [one for one, _ in runs]), ("without", [other for _, other in runs])):
            wall, work = median(run.wall for run in of_it), median(run.work for run in of_it)
            print(f"  {name}: {1e3 * wall:.0f} ms, of which the training's thread works {1e3 * work:.0f} ms")
    skews, ratios = begin_together()
    print(f"{len(skews)} captures of two ranks on this machine")
    print(f"  begin: {', '.join(f'{skew:.2f}' for skew in skews)} ms apart; {SKEW:g} ms are allowed")
    print(
        f"  {AROUND} steps after beside {AROUND} before: {', '.join(f'{ratio:.3f}' for ratio in ratios)}, "
        f"median {median(ratios):.3f}; {SLOWER:g} is allowed"
    )


if __name__ == "__main__":
    main()
