"""Measures for how long the end of a torch capture holds up the training, beside a run without any.

A program times its own steps, of so many operations that the capture has a known number of events. The stall
is the longest of the steps in which the capture ends and is written, less the median step.
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


if __name__ == "__main__":
    main()
