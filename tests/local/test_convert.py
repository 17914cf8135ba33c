"""Converted jobs run: the ranks that each had upstream, with a stand-in for its program and image."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import run
from support.upstream import NEEDS_EXAMPLES, outcomes

from ftjob.models.manifest import trainer_in

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = NEEDS_EXAMPLES

STAND_IN = """
import os
names = ("RANK", "HOROVOD_RANK", "TF_CONFIG", "PROCESS_ID")
print({name: os.environ[name] for name in names if name in os.environ})
"""
RANKS = {
    "jaxjob-simple": 2,
    "jax-simple": 2,
    "tensorflow-mnist": 2,
    "tensorflow-benchmarks": 2,
    "tensorflow-mnist-elastic": 2,
    "torchrun-cpu": 4,
    "pytorch-simple": 2,
    "elastic-example-echo": 2,
    "pytorch-dist-basic-sendrecv": 4,
    "tfjob-simple": 2,
    "multi-node-example": 3,
    "volcano-example": 4,
    "mnist": 1,
}
"""Ranks of jobs by their names, as upstream's operators start them."""


def with_stand_in(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job with another program: its script and data are in images that are not here."""
    job = copy.deepcopy(job)
    trainer = trainer_in(job["spec"]["template"])
    trainer |= {"command": ["python3", "-c", STAND_IN]}
    trainer.pop("args", None)
    trainer.pop("workingDir", None)
    return job


@pytest.mark.parametrize("name", RANKS)
def test_converted_job_runs_with_the_ranks_that_it_had(name: str, tmp_path: Path) -> None:
    found = next(one for one in outcomes() if one.name == name and one.converted is not None)
    assert found.converted is not None
    ran = run(with_stand_in(found.converted.job), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    ranks = {line.partition("]")[0] for line in ran.stdout.splitlines() if line.startswith("[rank ")}
    assert len(ranks) == RANKS[name], ran.stdout
