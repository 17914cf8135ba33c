"""Prints what ftjob weighs and how fast it starts, each beside its target. Measures; judges nothing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.builders import CONFIG
from support.builders import job as build_job

from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
RUNS = 20


def median_ms(run: Callable[[], float]) -> str:
    """Return the median and the range of several runs."""
    times = sorted(1000 * run() for _ in range(RUNS))
    return f"{statistics.median(times):.0f} ms ({times[0]:.0f} to {times[-1]:.0f})"


def took(command: list[str]) -> float:
    """Return the wall-clock seconds of a command."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def rank_start(folder: Path) -> float:
    """Return the seconds from the agent's start to its rank's first statement, less those of Python alone."""
    config = {
        "version": 1, "job": "bench", "namespace": "default", "uid": "bench", "strategy": "Plain",
        "role": "worker", "index": 0, "attempt": 0, "worldSize": 1, "agents": 1, "port": 29599,
        "leader": {"host": "127.0.0.1", "port": 29599},
        "ranks": [{"rank": 0, "localRank": 0, "env": {"FTJOB_RANK": "0"}}],
        "identity": [], "rendezvous": None, "outputs": "", "profiling": None,
    }  # fmt: skip
    (folder / "token").write_text("bench")
    env = os.environ | {
        "FTJOB_AGENT_CONFIG": json.dumps(config),
        "FTJOB_TOKEN_FILE": str(folder / "token"),
        "FTJOB_RUN_DIR": str(folder / "run"),
        "FTJOB_TERMINATION_LOG": str(folder / "end"),
    }
    stamp = [sys.executable, "-c", "import time; print(time.time())"]
    agent = [sys.executable, str(ROOT / "dist/ftjob-agent.pyz"), "--"]

    def seconds(command: list[str]) -> float:
        began = time.time()
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        return float(done.stdout) - began

    return seconds([*agent, *stamp]) - seconds(stamp)


def pod_bytes(strategy: str, workers: int) -> int:
    """Return the size of the last pod of a job, as it is sent."""
    job = build_job().strategy(strategy).workers(workers).build()
    layout = cluster_layout(job, 0)
    return len(json.dumps(build_pod(job, layout, layout.workers[-1], CONFIG), separators=(",", ":")))


def image_megabytes(name: str) -> str:
    """Return an image's size."""
    command = ["docker", "image", "inspect", "-f", "{{.Size}}", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{int(done.stdout) / 1e6:.1f} MB" if done.returncode == 0 else "not built; run `make images`"


def main() -> None:
    """Print the table."""
    ftjob = str(Path(sys.executable).with_name("ftjob"))
    print(f"ftjob --help                 {median_ms(lambda: took([ftjob, '--help']))}, target 150 ms")
    with tempfile.TemporaryDirectory() as folder:
        print(f"agent: later start of a rank {median_ms(lambda: rank_start(Path(folder)))}, target 300 ms")
    print(f"image of the operator        {image_megabytes('ftjob-operator:dev')}, target 250 MB")
    for strategy in ("Plain", "Horovod", "Torchrun", "MultiWorkerMirrored"):
        of_two, of_many = (pod_bytes(strategy, workers) for workers in (2, 5000))
        print(f"pod of {strategy:22}{of_two} bytes in a job of 2 workers, {of_many} of 5,000; target 8192")
    print(f"agent                        {(ROOT / 'dist/ftjob-agent.pyz').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
