"""Lives of jobs in random orders of events; FTJOB_SEQUENCES says how many (`make test-unit`: 10,000)."""

import os
from typing import Any

import pytest
from hypothesis import settings
from support.machine import Life, LifeInPlace

from ftjob.plan.observed.state import RefusalKind

# Some thousand lives take minutes.
pytestmark = pytest.mark.timeout(900)

SEQUENCES = int(os.environ.get("FTJOB_SEQUENCES", "400"))
PARTS = 6


def lives(kind: type[Life], count: int, steps: int) -> Any:
    """Return a test of so many lives, each with a random order of events of its own."""
    rules = settings(max_examples=max(1, count), stateful_step_count=steps)
    return type(kind.__name__, (kind.TestCase,), {"settings": rules})


# In parts, which several processes share out among them.
TestLife0, TestLife1, TestLife2, TestLife3, TestLife4, TestLife5 = (
    lives(Life, SEQUENCES * 3 // 4 // PARTS, 30) for _ in range(PARTS)
)
TestLifeInPlace0, TestLifeInPlace1 = (lives(LifeInPlace, SEQUENCES // 8, 20) for _ in range(2))


def test_pods_of_a_start_that_was_taken_back_are_no_failure_after_a_restart() -> None:
    life = Life()
    life.submit(workers=2, success="AllWorkers", clean="Running")
    life.the_operator_looks((RefusalKind.FORBIDDEN, 4))
    life.the_operator_looks(None)
    assert life.job["status"]["phase"] == "Pending"
    assert len(life.pods) == 1
    life.the_operator_is_killed()
    life.a_deleting_pod_goes(0, seen=True)
    life.the_operator_looks(None)
    assert life.job["status"]["phase"] == "Starting"
    assert len(life.pods) == 2
    life.teardown()
    assert life.job["status"]["phase"] == "Succeeded"
