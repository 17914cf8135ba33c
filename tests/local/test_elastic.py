"""Elastic jobs by `ftjob run`: an agent that is killed is replaced while the others go on."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from support.local_run import plain_job, read_until, start

SCRIPT = """
import os, pathlib, time
e = os.environ
print("RANK", e["RANK"], "of", e["WORLD_SIZE"], "in life", e["TORCHELASTIC_RESTART_COUNT"], flush=True)
assert "FTJOB_PROFILE" in e
while not pathlib.Path("done").exists():
    time.sleep(0.1)
"""


def test_an_agent_that_is_killed_ends_no_job_that_has_enough_workers(tmp_path: Path) -> None:
    job = plain_job(SCRIPT, workers=3)
    job["spec"] |= {"strategy": "Torchrun", "elastic": {"minWorkers": 2, "maxWorkers": 4}}
    job["spec"] |= {"profiling": {"mode": "Scheduled"}, "outputs": {"size": "1Gi"}}
    process = start(job, tmp_path)
    read_until(process, "of 3", times=3)
    killed = agent_of(process.pid, "job-worker-0-2")
    os.kill(killed, signal.SIGKILL)
    # Two go on alone for as long as the third is not there again, which may be no time at all.
    read_until(process, "of 3", times=3)
    (tmp_path / "done").touch()
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 0, rest + errors
    assert "s0 NotReached: no step was seen, the first capture begins at step 18\n" in rest
    status = (tmp_path / "out" / "job.yaml").read_text()
    assert re.search(r"disruptions: 0\s+failures: 0|failures: 0\s+disruptions: 0", status)
    assert not re.search(r"attempt: [1-9]", status)


def agent_of(pid: int, pod: str) -> int:
    """Return the process of a pod's agent, by the name that it has in its environment."""
    wanted = f"FTJOB_POD_NAME={pod}".encode()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    [found] = [c for c in children if wanted in Path(f"/proc/{c}/environ").read_bytes().split(b"\0")]
    return int(found)
