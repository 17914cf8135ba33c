"""What the time of all steps went into, for the job's timeline."""

from __future__ import annotations

import pytest

from ftjob_agent.star.slow.spent import Spent
from ftjob_protocol.vitals.block import RankBlock
from ftjob_protocol.vitals.clock import BLOCKED_UNKNOWN, INPUT_UNKNOWN, StepRecord


def step(number: int, step_us: int = 100_000, flags: int = 0) -> StepRecord:
    return StepRecord(0, number, step_us, step_us // 4, step_us // 2, step_us // 10, 1, flags)


def block(*steps: StepRecord, seconds: float, flags: int = 0) -> RankBlock:
    return RankBlock(0, 1, 16, steps, step(0, flags=flags), start_s=50.0, end_s=50.0 + seconds)


def test_shares_are_of_the_time_of_all_ranks_and_pauses_are_what_steps_took_too_long() -> None:
    spent = Spent()
    assert spent.shares() == {}
    spent.add([block(step(1), seconds=8.0), block(step(1), step(2, 2_100_000), seconds=10.0)])
    assert spent.shares() == {
        "input": pytest.approx(0.25 * 16 / 18, abs=1e-3),
        "blocked": pytest.approx(0.1 * 16 / 18, abs=1e-3),
        "pauses": pytest.approx(2 / 18, abs=1e-3),
    }


def test_what_was_not_seen_has_no_share() -> None:
    spent = Spent()
    spent.add([block(step(1), seconds=8.0, flags=INPUT_UNKNOWN | BLOCKED_UNKNOWN)])
    assert spent.shares() == {}


def test_a_strangers_times_give_shares_of_the_whole_at_most() -> None:
    spent = Spent()
    odd = RankBlock(0, 1, 16, (step(1, 4_000_000_000),), StepRecord(0, 0, 1, 9, 9, 9, 0, 0), 90.0, 91.0)
    backwards = block(step(1), seconds=-5.0)
    spent.add([odd, backwards, RankBlock(0, 1, 8, (), StepRecord(0, 0, 0, 0, 0, 0, 0, 0), 1.0, 2.0)])
    assert all(0 <= share <= 1 for share in spent.shares().values())
