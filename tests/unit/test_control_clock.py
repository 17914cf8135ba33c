"""A clock that is set while the operator runs changes nothing for jobs."""

from __future__ import annotations

import time

import pytest

from ftjob.control.process.clock import steady_clock


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_jump_of_the_machines_clock_is_not_seen(jump: float) -> None:
    wall, steady = [1000.0], [5.0]
    clock = steady_clock(wall=lambda: wall[0], steady=lambda: steady[0])
    wall[0] += jump
    steady[0] += 2.0
    assert clock() == 1002.0


def test_it_shows_unix_time() -> None:
    assert steady_clock()() == pytest.approx(time.time(), abs=60)
