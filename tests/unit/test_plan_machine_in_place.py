"""Lives of jobs whose ranks start again in place; how many, see test_plan_machine.py."""

import os

import pytest
from hypothesis import settings
from support.machine import LifeInPlace

# Ten thousand lives take minutes, all in one test.
pytestmark = pytest.mark.timeout(900)

SEQUENCES = int(os.environ.get("FTJOB_SEQUENCES", "400"))

TestLifeInPlace = LifeInPlace.TestCase
TestLifeInPlace.settings = settings(max_examples=SEQUENCES // 4, stateful_step_count=20, deadline=None)
