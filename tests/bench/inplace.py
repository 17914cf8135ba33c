"""Measures a restart of 16 real workers on this machine: from a rank's failure until all ranks run again.

Both ways are `ftjob run` of the same job with the same planner and agents, a process for each agent and each
rank, in turns: in place, and with new agents (`restart.inPlace: false`). In a cluster new pods have to be
scheduled and started on top of that, and the operator hears of the failure by a held request, where
`ftjob run` asks twice a second.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import in_words
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from typing import Any

TARGET_SECONDS = 2.0
SCRIPT = """
import os, time
rank, size, attempt = (int(os.environ[f"FTJOB_{key}"]) for key in ("RANK", "WORLD_SIZE", "ATTEMPT"))
folder = os.environ["FTJOB_OUTPUTS"]

def mark(name):
    with open(f"{folder}/{name}.tmp", "w") as file:
        file.write(str(time.time_ns()))
    os.rename(f"{folder}/{name}.tmp", f"{folder}/{name}")

mark(f"start-{attempt}-{rank}")
while not all(os.path.exists(f"{folder}/start-{attempt}-{other}") for other in range(size)):
    time.sleep(0.02)
if attempt == 0 and rank == size // 2:
    mark("failure")
    os._exit(137)
if attempt == 0:
    time.sleep(600)
"""


def job(workers: int, *, in_place: bool) -> dict[str, Any]:
    """Return a job one of whose ranks fails once."""
    made = plain_job(SCRIPT, workers=workers, command=["python3", "-S", "-c"])
    made["spec"]["restart"] = {"limit": 1, "backoffSeconds": 0, "inPlace": in_place}
    return made


def restart_seconds(workers: int, *, in_place: bool) -> float:
    """Run such a job; return the seconds from the failure to the last rank's start in the next attempt."""
    with tempfile.TemporaryDirectory(prefix="ftjob-bench-") as folder:
        ran = run(job(workers, in_place=in_place), Path(folder), "--quiet")
        status = ran.status
        if ran.code or status["attempt"] != 1 or (status["podAttempt"] == 0) is not in_place:
            raise RuntimeError(f"not the restart that was to be measured: {ran.stdout}{ran.stderr}{status}")
        starts = [int((ran.outputs / f"start-1-{rank}").read_text()) for rank in range(workers)]
        return (max(starts) - int((ran.outputs / "failure").read_text())) / 1e9


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    found: dict[bool, list[float]] = {True: [], False: []}
    for repetition in range(options.repetitions):
        for in_place in (True, False) if repetition % 2 == 0 else (False, True):
            found[in_place].append(restart_seconds(options.workers, in_place=in_place))
    print(f"restart of {options.workers} local workers, from a rank's failure, {os.cpu_count()} cores")
    print(f"  in place        {in_words(found[True], 's')}, target {TARGET_SECONDS:g} s")
    print(f"  with new agents {in_words(found[False], 's')}", flush=True)


if __name__ == "__main__":
    main()
