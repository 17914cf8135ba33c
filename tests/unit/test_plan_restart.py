"""Which ends of an attempt are followed by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ftjob.models.spec import Restart
from ftjob.models.status import Failure, Restarts
from ftjob.plan.build.pod import bad_nodes
from ftjob.plan.life.restart import FRUITLESS_DISRUPTIONS, backoff, judge

if TYPE_CHECKING:
    from ftjob.plan.plan import RestartDecision


def verdict(
    code: int | None = 137, reason: str = "Signal", *, done: Restarts | None = None, **given: Any
) -> RestartDecision:
    disruption = given.pop("disruption", False)
    progressed, lived = given.pop("progressed", True), given.pop("lived", 60.0)
    spec = Restart.model_validate({"limit": 3, **given})
    failure = Failure(reason=reason, exit_code=code)
    return judge(
        failure,
        spec,
        done or Restarts(),
        disruption=disruption,
        progressed=progressed,
        lived=lived,
        seed="uid/0",
    )


@pytest.mark.parametrize(
    ("code", "ranges", "again"),
    [
        (137, "128-255", True),
        (143, "128-255", True),
        (255, "128-255", True),
        (127, "128-255", False),
        (1, "128-255", False),
        (42, "42,128-255", True),
        (43, "42,128-255", False),
        (1, "1", True),
        (137, "1", False),
        (None, "0-255", False),
    ],
)
def test_the_exit_code_of_the_first_failing_rank_decides(code: int | None, ranges: str, again: bool) -> None:
    assert verdict(code, retryExitCodes=ranges).again is again


def test_a_code_that_is_not_worth_a_retry_is_named() -> None:
    assert verdict(1).why == "exit code 1 is not in restart.retryExitCodes (128-255)"


def test_a_hang_has_no_exit_code_and_is_worth_a_retry_within_the_limit() -> None:
    again = verdict(None, "Hang", retryExitCodes="42")
    assert (again.again, again.why) == (True, "restart 1 of 3")
    assert not verdict(None, "Hang", done=Restarts(failures=3)).again
    assert not verdict(None, "Hang", rules=[{"onReason": "Hang", "action": "Fail"}]).again
    assert not verdict(None, "Hang", limit=0).again


def test_failures_spend_the_limit() -> None:
    assert verdict(done=Restarts(failures=2)).again
    last = verdict(done=Restarts(failures=3))
    assert (last.again, last.why) == (False, "restart.limit is 3")
    assert not verdict(limit=0).again


def test_the_first_rule_that_matches_the_reason_wins() -> None:
    rules = [
        {"onReason": "OOMKilled", "action": "Fail"},
        {"onReason": "Exception", "action": "Restart"},
        {"onReason": "Exception", "action": "Fail"},
    ]
    assert not verdict(137, "OOMKilled", rules=rules).again
    assert verdict(1, "Exception", rules=rules).again
    assert not verdict(1, "Exception", rules=rules, limit=0).again, "a rule gives no restart for free"
    assert verdict(137, "Signal", rules=rules).again


def test_disruptions_are_free() -> None:
    free = verdict(None, "Evicted", disruption=True, limit=0)
    assert (free.again, free.disruption) == (True, True)
    assert verdict(None, "Evicted", disruption=True, done=Restarts(failures=3, disruptions=99)).again


def test_disruptions_spend_the_limit_where_the_job_says_so() -> None:
    spent = Restarts(failures=1, disruptions=2)
    assert not verdict(None, "Evicted", disruption=True, countDisruptions=True, done=spent).again
    assert verdict(None, "Evicted", disruption=True, countDisruptions=True, done=Restarts(failures=1)).again
    assert not verdict(137, countDisruptions=True, done=spent).again


def test_a_rule_can_refuse_even_a_disruption() -> None:
    rules = [{"onReason": "PreemptionByScheduler", "action": "Fail"}]
    assert not verdict(None, "PreemptionByScheduler", disruption=True, rules=rules).again


def test_disruptions_without_progress_end_some_day() -> None:
    stuck = Restarts(disruptions=50, in_a_row=FRUITLESS_DISRUPTIONS)
    given_up = verdict(None, "Evicted", disruption=True, progressed=False, done=stuck)
    assert not given_up.again
    assert "without a step" in given_up.why
    assert verdict(None, "Evicted", disruption=True, progressed=True, done=stuck).again


def test_waits_double_up_to_five_minutes() -> None:
    waits = [backoff(5, times, "uid/0") for times in range(12)]
    for times, wait in enumerate(waits):
        base = min(300, 5 * 2**times)
        assert base <= wait <= base * 1.2
    assert backoff(5, 10**6, "uid/0") <= 360
    assert backoff(0, 3, "uid/0") == 0


def test_the_jitter_is_the_jobs_own_and_always_the_same() -> None:
    assert backoff(5, 1, "a") == backoff(5, 1, "a")
    assert len({backoff(5, 1, str(job)) for job in range(50)}) > 25


def test_a_node_is_bad_after_two_failures() -> None:
    assert bad_nodes(["a", "b", "a", "c"]) == ["a"]


@pytest.mark.parametrize("disruption", [False, True])
def test_what_lived_less_than_ten_seconds_waits_at_least_ten_doubled_each_time(disruption: bool) -> None:
    def waits(lived: float, **given: Any) -> list[float]:
        return [
            verdict(
                disruption=disruption,
                done=Restarts(failures=times, in_a_row=times),
                limit=99,
                progressed=False,
                lived=lived,
                **given,
            ).wait_seconds
            for times in range(6)
        ]

    short = waits(9.9, backoffSeconds=0)
    for times, wait in enumerate(short):
        least = min(300, 10 * 2**times)
        assert least <= wait <= 1.2 * least
    assert waits(10, backoffSeconds=0) == [0] * 6
    assert waits(1, backoffSeconds=20) == waits(60, backoffSeconds=20)
