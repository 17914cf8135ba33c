"""Lives of jobs in random orders of events; FTJOB_SEQUENCES says how many (`make test`: 10,000)."""

import os

import pytest
from hypothesis import settings
from support.machine import Life

from ftjob.plan.observed.state import RefusalKind

# Ten thousand lives take minutes, all in one test.
pytestmark = pytest.mark.timeout(900)

SEQUENCES = int(os.environ.get("FTJOB_SEQUENCES", "400"))

TestLife = Life.TestCase
TestLife.settings = settings(max_examples=SEQUENCES * 3 // 4, stateful_step_count=30, deadline=None)


def test_pods_of_a_start_that_was_taken_back_are_no_failure_after_a_restart() -> None:
    life = Life()
    life.submit(workers=2, success="AllWorkers", clean="Running")
    life.the_operator_looks((RefusalKind.FORBIDDEN, 3))
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
