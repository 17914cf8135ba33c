"""One rank fails: the job says which, where and why, and nothing hangs.

CI runs a sample; `make test-failures` runs the whole matrix, five times, and writes how long each took.
"""

from __future__ import annotations

import os
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.cluster import Cluster, conditions, job

PROGRAMS = {"torch": "/programs/hvd_torch_loop.py", "TensorFlow": "/programs/tf_loop.py"}
CODES = {"exception": 1, "exit": 7, "sigkill": 137}
SAMPLE = [("torch", 0, "exception"), ("TensorFlow", 3, "sigkill"), ("torch", 2, "exit")]
TABLE = os.environ.get("FTJOB_FAILURES_TABLE")
"""A file to which each case adds a line: framework, rank, how, seconds until the job had failed."""
not_in_sample = pytest.mark.skipif(
    not os.environ.get("FTJOB_WHOLE_MATRIX"),
    reason="three cases stand for all: see `make test-failures`",
)
MATRIX = [
    pytest.param(*case, marks=() if case in SAMPLE else not_in_sample)
    for case in product(PROGRAMS, range(4), CODES)
]


@pytest.mark.parametrize(("framework", "rank", "how"), MATRIX)
def test_the_first_failing_rank_is_named(frameworks: Cluster, framework: str, rank: int, how: str) -> None:
    name = f"fails-{framework.lower()}-{rank}-{how}"
    command = ["python3", PROGRAMS[framework], f"--fail-rank={rank}", f"--fail-how={how}", "--steps=400"]
    frameworks.apply(job(name, command, strategy="Horovod", workers=2, processes=2, frameworks=True))
    failed = frameworks.finished(name)
    failure = failed["status"]["failure"]
    assert failed["status"]["phase"] == "Failed"
    assert (failure["rank"], failure["exitCode"]) == (rank, CODES[how]), failure
    assert failure["pod"] == f"{name}-worker-0-{rank // 2}"
    assert failure["node"].startswith("ftjob-worker")
    if how == "exception":
        assert f"rank {rank} fails on purpose" in failure["message"]
        assert "Traceback" in failure["message"]
    assert f"rank {rank}" in conditions(failed)["Failed"]["message"]
    for pod in (f"{name}-worker-0-{index}" for index in range(2)):
        frameworks.kubectl("wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    took = seconds_to_fail(frameworks, failed)
    print(f"{name}: the job had failed after at most {took:.1f} s")
    if TABLE:
        with Path(TABLE).open("a", encoding="utf-8") as lines:
            lines.write(f"{framework},{rank},{how},{took:.1f}\n")
    frameworks.kubectl("delete", "ftj", name)


def seconds_to_fail(cluster: Cluster, job: dict[str, Any]) -> float:
    """Return how long it took from the rank's last word to the job's end, at most."""
    log = cluster.kubectl("logs", job["status"]["failure"]["pod"], "-c", "trainer")
    began = float(log.partition("fails at ")[2].split()[0])
    ended = datetime.fromisoformat(conditions(job)["Failed"]["lastTransitionTime"]).timestamp()
    return ended + 1 - began  # status knows whole seconds only
