"""Faults in jobs that `ftjob run` runs: the verdict is that of `job.yaml`, as users have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from insight.measure import Watch
from insight.score import Outcome
from insight.trial import TESTS, Trial, times
from support.local_run import Ran, plain_job, start

from ftjob_protocol.values.ranges import parse_indexes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from insight.plan import Placement

LIMIT_S = 900


def run_job(placement: Placement, folder: Path, faults: Sequence[Path]) -> Outcome:
    """Run a job of one placement to its end."""
    trial = Trial([placement], folder, faults)
    job = plain_job("", name="planted", workers=placement.size, command=trial.command(), args=[])
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    env = trial.env() | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    job["spec"]["strategy"] = placement.program.strategy
    watch = Watch()
    watch.start()
    process = start(job, folder)
    try:
        out, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.terminate()  # then it ends its ranks
        process.wait()
        trial.clear()
        watch.done.set()
        watch.join()
    if process.returncode:
        raise RuntimeError(f"{placement}: {process.returncode}\n{out[-2000:]}\n{errors[-2000:]}")
    ran = Ran(process.returncode, out, errors, folder / "out")
    rows = trial.rows(placement)
    profile: dict[str, Any] = ran.status.get("profile") or {}
    first: dict[str, Any] = next(iter(profile.get("findings") or []), {})
    text = profile.get("verdict", "no verdict")
    nothing = "NoProblem" if text.startswith("no problem found") else "Unknown"
    return Outcome(
        placement,
        trial.truth(placement, rows),
        first.get("kind", nothing),
        tuple(sorted(parse_indexes(first["ranks"]))) if first.get("ranks") else (),
        first.get("cause"),
        text,
        watch.contended(*times(rows)),
    )
