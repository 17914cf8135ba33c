"""Real runs of `ftjob run` with small Python scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence


def plain_job(
    script: str, *, name: str = "job", workers: int = 1, processes: int = 1, **trainer: Any
) -> dict[str, Any]:
    """Return a Plain job whose ranks run a Python script; keywords go into the trainer."""
    container = {
        "name": "trainer",
        "image": "none",
        "command": ["python3", "-c"],
        "args": [script],
        **trainer,
    }
    return {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {"name": name},
        "spec": {
            "strategy": "Plain",
            "workers": workers,
            "processesPerWorker": processes,
            "template": {"spec": {"containers": [container]}},
        },
    }


@dataclass(frozen=True)
class Ran:
    """What a run left."""

    code: int
    stdout: str
    stderr: str
    outputs: Path

    @property
    def job(self) -> dict[str, Any]:
        """The job with its status."""
        job: dict[str, Any] = yaml.safe_load((self.outputs / "job.yaml").read_text())
        return job

    @property
    def status(self) -> dict[str, Any]:
        """The job's last status."""
        status: dict[str, Any] = self.job["status"]
        return status

    def log(self, rank: int) -> str:
        """Return what a rank wrote."""
        return (self.outputs / "logs" / f"rank-{rank:05d}.log").read_text()


def command(job: dict[str, Any] | Path, folder: Path, *options: str) -> list[str]:
    """Return the command line of a run whose outputs are in `folder`/out."""
    path = job if isinstance(job, Path) else folder / "job.yaml"
    if not isinstance(job, Path):
        path.write_text(json.dumps(job))
    return [
        sys.executable,
        "-m",
        "ftjob.cli.main",
        "run",
        str(path),
        "--outputs",
        str(folder / "out"),
        *options,
    ]


def run(job: dict[str, Any] | Path, folder: Path, *options: str, **env: str) -> Ran:
    """Run a job to its end."""
    done = subprocess.run(
        command(job, folder, *options),
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | env,
        timeout=240,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr, folder / "out")


def start(
    job: dict[str, Any], folder: Path, *options: str, before: Sequence[str] = (), **env: str
) -> subprocess.Popen[str]:
    """Start a run, by another command if there are words before it, and return it while it runs."""
    return subprocess.Popen(
        [*before, *command(job, folder, *options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)} | env,  # what is left when ftjob is killed lies there
    )


def read_until(process: subprocess.Popen[str], text: str, times: int = 1) -> str:
    """Read stdout until a text has come so often; fails if the process ends before."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if seen.count(text) >= times:
            return seen
    message = f"ended with {process.wait()} before {text!r} came {times} times; stdout: {seen}"
    raise AssertionError(message)


def wait_until_released(reader: int) -> None:
    """Wait until no process has the fifo behind this descriptor open for writing any more."""
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
