"""Records traces of real trainings, by `ftjob run` and `ftjob profile`: `record_traces.py FOLDER [NAME...]`.

Each becomes FOLDER/NAME, as it lies in `tests/corpus/traces`; the path of the checkout is crossed out.
There is none with kernels of a GPU: that would take a machine with one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from support.hook_env import PROGRAMS
from support.local_run import plain_job, start

RECORDED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "jax": ("JAX", "trace_jax.py", ("--seconds", "3")),
    "jax-slow": ("JAX", "trace_jax.py slow", ("--seconds", "5")),
    "torch-fsdp2": ("Torchrun", "trace_fsdp2.py", ("--steps", "3")),
}
"""Strategy, program with its arguments, and how long to record."""
ID = "recorded"
CHECKOUT = str(Path(__file__).parents[2]).encode()
PATIENCE = 600.0
TRIES = 10


def job_of(strategy: str, program: str) -> dict[str, Any]:
    """Return a job of two ranks."""
    name, *args = program.split()
    job = plain_job("", workers=2, command=[sys.executable, str(PROGRAMS / name), *args], args=[])
    job["spec"] |= {"strategy": strategy, "outputs": {"size": "1Gi"}}
    return job


def wait_until_stepping(outputs: Path) -> None:
    """Wait until both ranks say that they train: what they compile at first is in no trace."""
    until = time.monotonic() + PATIENCE
    logs = [outputs / "logs" / f"rank-{rank:05d}.log" for rank in range(2)]
    while not all(log.exists() and "training" in log.read_text() for log in logs):
        if time.monotonic() > until:
            raise TimeoutError(f"{outputs}: the job does not train")
        time.sleep(1)


def is_taken(profile: list[str], folder: str) -> bool:
    """Whether a capture is whole: it is refused while the job takes one by itself."""
    return subprocess.run(profile, check=False, cwd=folder, timeout=PATIENCE).returncode == 0


def record(name: str, to: Path) -> None:
    """Run the training, capture it, and keep what its ranks have left."""
    strategy, program, how_long = RECORDED[name]
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder) / "out"
        run = start(job_of(strategy, program), Path(folder), OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
        try:
            wait_until_stepping(outputs)
            profile = [sys.executable, "-m", "ftjob.cli.main", "profile", str(outputs), *how_long]
            ids = (f"{ID}-{number}" for number in range(TRIES))
            taken = next(one for one in ids if is_taken([*profile, "--id", one, "--wait"], folder))
        finally:
            run.terminate()
            said = run.communicate()
        ranks = outputs / "captures" / taken / "raw"
        if not ranks.is_dir():
            raise FileNotFoundError(f"{ranks}: {said}")
        shutil.rmtree(to / name, ignore_errors=True)
        for rank in sorted(ranks.iterdir()):
            (to / name / rank.name).mkdir(parents=True)
            done = json.loads((rank / "done.json").read_text())
            for file in ("done.json", *done["files"]):
                data = (rank / file).read_bytes().replace(CHECKOUT, b"/".ljust(len(CHECKOUT), b"x"))
                (to / name / rank.name / file).write_bytes(data)


def main() -> None:
    """Record what is named, else all there are."""
    to, names = Path(sys.argv[1]), sys.argv[2:] or list(RECORDED)
    for name in names:
        record(name, to)
        size = sum(path.stat().st_size for path in (to / name).rglob("*") if path.is_file())
        print(f"{to / name}: {size} bytes")


if __name__ == "__main__":
    main()
