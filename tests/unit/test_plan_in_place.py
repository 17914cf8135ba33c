"""Restarts in place: what is decided when the agents say that all ranks are dead in pods that live."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import (
    CONFIG,
    NOW,
    JobBuilder,
    PodBuilder,
    created,
    decide,
    deleted,
    job,
    observed,
    pod,
    stamp,
)

from ftjob.models.status import ConditionType, JobStatus, Phase
from ftjob.plan.build.agent_config import agent_command
from ftjob.plan.layout import cluster_layout
from ftjob.plan.plan import Plan, Step
from ftjob_protocol.failures import Failure
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.orders import Order, OrderKind

if TYPE_CHECKING:
    from ftjob.plan.observed.state import Observed


def retrying(**restart: Any) -> JobBuilder:
    given = {"limit": 3, "backoffSeconds": 10, **restart}
    return job().workers(2).processes(2).with_spec(restart=given).running()


def running(count: int = 2, attempt: int = 0) -> list[PodBuilder]:
    return [pod(index, attempt=attempt).running() for index in range(count)]


def halted(attempt: int = 0, *, rank: int | None = 3, code: int | None = 137, **more: Any) -> LeaderState:
    kind, type_ = more.pop("kind", "Signal"), more.pop("type", "SIGKILL")
    failure = Failure(kind, "the last line", rank, int(NOW * 1e9), type_, code)
    return LeaderState(attempt, "Halted", None, failure=failure, **{"ordered": attempt, **more})


class Life:
    """A job whose status follows from one decision after the other."""

    def __init__(self, wanted: JobBuilder, now: float = NOW) -> None:
        self.job, self.now = wanted, now

    def see(self, pods: list[PodBuilder], report: LeaderState | None = None, *, after: float = 0.0) -> Plan:
        self.now += after
        seen: Observed = observed(*pods, leader=report)
        decision = decide(self.job, seen, now=self.now)
        self.job = self.job.after(decision, seen, now=self.now)
        return decision

    @property
    def status(self) -> JobStatus:
        return self.job.status

    def fail(self, rank: int = 3, **more: Any) -> Plan:
        """Have a rank fail, and the job run again if it is restarted in place."""
        attempt = self.status.attempt
        decision = self.see(running(), halted(attempt, rank=rank), **more)
        if decision.status.in_place:
            self.see(running(), LeaderState(attempt + 1, "Running", None, ordered=attempt + 1), after=1)
            assert self.status.phase is Phase.RUNNING
        return decision


def test_the_restart_is_written_before_the_agents_are_told() -> None:
    life = Life(retrying())
    decision = life.see(running(), halted())
    assert (decision.step, decision.status.in_place) == (Step.RESTART, True)
    assert decision.order is None, "status comes first"
    assert decision.changes.delete == ()
    assert decision.next_look == 0, "our own write is no news"
    status = life.status
    assert (status.attempt, status.pod_attempt, status.restarts.failures) == (1, 0, 1)
    assert status.phase is Phase.RESTARTING
    assert status.next_restart_time is not None
    assert status.failure is not None
    assert (status.failure.rank, status.failure.index, status.failure.pod) == (3, 1, "digits-worker-0-1")
    assert (status.failure.node, status.failure.exit_code) == ("node-1", 137)
    restarting = next(c for c in status.conditions if c.type is ConditionType.RESTARTING)
    assert restarting.message.endswith("the last line (restart 1 of 3, in the same pods)")
    assert status.display is not None
    assert (status.display.workers, status.workers) == ("2/2", 2)


def test_then_the_agents_are_told_to_wait_out_the_backoff() -> None:
    life = Life(retrying(backoffSeconds=10))
    life.see(running(), halted())
    before = life.status
    told = life.see(running(), halted(), after=4)
    assert told.step is Step.HOLD
    assert isinstance(told.order, Order)
    assert (told.order.command, told.order.attempt) == ("start", 1)
    assert 6 <= told.order.wait_seconds <= 9
    assert life.status == before, "waiting is no write"
    waits = life.see(running(), halted(ordered=1), after=1)
    assert (waits.step, waits.order) == (Step.HOLD, None)
    assert life.status == before


def test_an_operator_that_comes_after_the_write_tells_them_again() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(running(), halted())
    first = life.see(running(), None)
    assert first.order == Order(OrderKind.START, 1, 0.0)
    again = life.see(running(), halted(), after=first.next_look or 0)
    assert again.order == Order(OrderKind.START, 1, 0.0)
    assert life.status.restarts.failures == 1


def test_the_job_runs_again_when_the_agents_say_so() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(running(), halted())
    life.see(running(), halted(), after=1)
    decision = life.see(running(), LeaderState(1, "Running", {"step": 7}, ordered=1), after=2)
    assert decision.step is Step.START
    assert (decision.changes.create, decision.changes.delete, decision.order) == ((), (), None)
    status = life.status
    assert status.phase is Phase.RUNNING
    assert (status.attempt, status.pod_attempt) == (1, 0)
    assert status.running_time == stamp(life.now)
    assert status.attempt_time == stamp(life.now)
    assert status.restarts.lost_seconds == 3
    assert status.progress is not None
    assert status.progress.step == 7
    assert all(c.type is not ConditionType.RESTARTING for c in status.conditions)
    assert life.see(running(), LeaderState(1, "Running", {"step": 8}, ordered=1)).step is Step.CONTINUE


@pytest.mark.parametrize(
    ("restart", "report"),
    [
        ({"inPlace": False}, halted()),
        ({"limit": 0}, halted()),
        ({}, halted(code=1)),
        ({"rules": [{"onReason": "Signal", "action": "Fail"}]}, halted()),
        ({"rules": [{"onReason": "OOMKilled", "action": "Fail"}]}, halted(type="OOMKilled")),
    ],
    ids=["not wanted", "no limit", "permanent code", "rule", "rule by memory"],
)
def test_agents_that_are_not_to_start_again_are_told_to_end(
    restart: dict[str, Any], report: LeaderState
) -> None:
    life = Life(retrying(**restart))
    decision = life.see(running(), report)
    assert (decision.step, decision.order) == (Step.CONTINUE, Order(OrderKind.END, 0))
    assert life.status.phase is Phase.RUNNING
    assert life.status.restarts.failures == 0, "their pods' end is counted when it is seen"


@pytest.mark.parametrize(
    "other",
    [
        pod(1),
        pod(1).running().deleting(),
        pod(1).running().lost(),
        pod(1).running().disrupted(),
        pod(1).running().succeeded(),
    ],
    ids=["not running", "deleted", "lost", "disrupted", "succeeded"],
)
def test_all_pods_have_to_be_well(other: PodBuilder) -> None:
    decision = Life(retrying()).see([pod(0).running(), other], halted())
    assert not decision.status.in_place
    assert decision.order == Order(OrderKind.END, 0) or decision.step is Step.CONTINUE


def test_the_words_of_an_earlier_attempt_mean_nothing() -> None:
    life = Life(retrying().with_status(attempt=2, pod_attempt=2))
    decision = life.see(running(attempt=2), halted(attempt=1))
    assert (decision.step, decision.order) == (Step.CONTINUE, None)


def test_a_rank_that_fails_again_within_ten_minutes_gets_new_pods() -> None:
    life = Life(retrying(backoffSeconds=0))
    assert life.fail(rank=3).status.in_place
    assert life.fail(rank=1, after=100).status.in_place
    assert life.fail(rank=3, after=300).order == Order(OrderKind.END, 2)
    assert life.status.restarts.failed_ranks is not None
    assert sorted(life.status.restarts.failed_ranks) == ["1", "3"]


def test_after_ten_minutes_it_may_fail_in_place_again() -> None:
    life = Life(retrying(backoffSeconds=0))
    assert life.fail(rank=3).status.in_place
    assert life.fail(rank=3, after=700).status.in_place


def test_restarts_in_place_spend_the_same_limit() -> None:
    life = Life(retrying(limit=2, backoffSeconds=0))
    assert life.fail(rank=0).status.in_place
    assert life.fail(rank=1).status.in_place
    assert life.fail(rank=2).order == Order(OrderKind.END, 2)
    ended = [pod(i).running().failed(137, kind="Signal") for i in range(2)]
    assert life.see(ended).step is Step.FAIL
    assert life.status.restarts.failures == 2


def test_new_pods_follow_agents_that_did_not_start_again_and_count_nothing() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(running(), halted())
    ended = [pod(i).running().failed(137, kind="Signal") for i in range(2)]
    decision = life.see(ended, halted(), after=30)
    assert decision.step is Step.RECREATE
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]
    status = life.status
    assert (status.phase, status.attempt, status.pod_attempt) == (Phase.RESTARTING, 2, 2)
    assert status.restarts.failures == 1
    held = life.see([p.deleting() for p in running()], after=1)
    assert (held.step, held.order, created(held)) == (Step.HOLD, None, [])
    began = life.see([], after=1)
    assert created(began) == ["digits-worker-2-0", "digits-worker-2-1"]


def test_agents_that_hang_are_not_waited_for_for_ever() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(running(), halted())
    assert life.see(running(), halted(), after=59).step is Step.HOLD
    assert life.see(running(), halted(), after=2).step is Step.RECREATE


def test_the_backoff_is_no_reason_to_give_up() -> None:
    life = Life(retrying(backoffSeconds=300))
    life.see(running(), halted())
    assert life.see(running(), halted(ordered=1), after=299).step is Step.HOLD
    assert life.see(running(), halted(ordered=1), after=130).step is Step.RECREATE


def test_a_pod_lost_during_the_backoff_has_the_pods_made_anew() -> None:
    life = Life(retrying(backoffSeconds=100))
    life.see(running(), halted())
    decision = life.see([pod(0).running(), pod(1).running().deleting()], halted(ordered=1), after=5)
    assert decision.step is Step.RECREATE
    assert life.status.restarts.disruptions == 0
    held = life.see([], after=1)
    assert (held.step, held.reason) == (Step.HOLD, "BackingOff"), "the backoff goes on"


def test_a_failure_of_the_new_attempt_that_was_not_seen_to_run_is_counted() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(running(), halted())
    ended = pod(0).running().failed(137, kind="Signal").state
    assert ended.terminated is not None
    assert ended.terminated.message is not None
    message = replace(ended.terminated.message, attempt=1)
    late = PodBuilder(replace(ended, terminated=replace(ended.terminated, message=message)))
    decision = life.see([late, pod(1).running().failed(137, kind="Signal")], after=5)
    assert decision.step is Step.RESTART
    assert not decision.status.in_place
    assert (life.status.attempt, life.status.pod_attempt, life.status.restarts.failures) == (2, 2, 2)


def test_a_pod_that_vanished_from_an_attempt_in_place_is_not_made_alone() -> None:
    life = Life(retrying(backoffSeconds=0))
    assert life.fail().status.in_place
    decision = life.see(running(1), LeaderState(1, "Running", None, ordered=1), after=1)
    assert (decision.step, created(decision)) == (Step.RESTART, [])
    assert life.status.restarts.disruptions == 1
    assert (life.status.attempt, life.status.pod_attempt) == (2, 2)


@pytest.mark.parametrize("is_told", [False, True])
def test_a_job_suspended_during_a_restart_in_place_starts_with_new_pods(is_told: bool) -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(running(), halted())
    if is_told:
        life.see(running(), LeaderState(1, "Running", None, ordered=1))
    life.job = life.job.with_spec(suspend=True)
    assert deleted(life.see(running())) == ["digits-worker-0-0", "digits-worker-0-1"]
    assert (life.status.attempt, life.status.pod_attempt) == (2, 2)
    life.job = life.job.with_spec(suspend=False)
    assert created(life.see([], after=10)) == ["digits-worker-2-0", "digits-worker-2-1"]


@pytest.mark.parametrize(
    ("restart", "more", "expected"),
    [
        ({"limit": 1}, {}, True),
        ({}, {}, False),
        ({"limit": 1, "inPlace": False}, {}, False),
        (
            {"limit": 1},
            {"strategy": "Torchrun", "workers": 2, "elastic": {"minWorkers": 1, "maxWorkers": 2}},
            False,
        ),
    ],
)
def test_only_agents_that_may_start_again_wait_for_a_word(
    restart: dict[str, Any], more: dict[str, Any], expected: bool
) -> None:
    wanted = job().with_spec(restart=restart, **more).build()
    layout = cluster_layout(wanted, 0)
    told = agent_command(wanted, layout, layout.leader, CONFIG).config.as_json()
    assert ("inPlace" in told) is expected
