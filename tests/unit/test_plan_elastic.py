"""Elastic jobs: growing, shrinking, and going on without those that are lost."""

from dataclasses import replace
from typing import Any

import pytest
from support.builders import (
    NOW,
    JobBuilder,
    PodBuilder,
    created,
    decide,
    deleted,
    job,
    observed,
    pod,
    refusal,
)

from ftjob.models.status import ConditionType, Phase
from ftjob.plan.observed.state import RefusalKind
from ftjob.plan.plan import Step
from ftjob_protocol.leader_state import LeaderState

P = [f"digits-worker-0-{index}" for index in range(5)]


def elastic(workers: int = 3, *, least: int = 2, most: int = 4, **restart: Any) -> JobBuilder:
    bounds = {"minWorkers": least, "maxWorkers": most}
    found = job().strategy("Torchrun").workers(workers).with_spec(elastic=bounds)
    return found.with_spec(restart=restart) if restart else found


def running(*indexes: int) -> list[PodBuilder]:
    return [pod(index).running() for index in indexes]


def replaced(index: int, times: int = 1) -> PodBuilder:
    """Return the pod that took the place of an earlier one."""
    state = pod(index).state
    return PodBuilder(replace(state, name=f"{state.name}-{times}", uid=f"{state.uid}-{times}"))


def killed(index: int) -> PodBuilder:
    return pod(index).running().failed(137, kind=None)


def stopped(index: int) -> PodBuilder:
    """Return a pod whose agent was told to end."""
    return pod(index).running().failed(143, kind="Stopped")


def test_it_starts_with_the_workers_that_are_wanted() -> None:
    decision = decide(elastic(), observed())
    assert (decision.step, created(decision)) == (Step.START, P[:3])


def test_without_index_0_it_does_not_run_yet_however_many_others_do() -> None:
    seen = observed(pod(0), *running(1, 2))
    status = elastic().started().after(decide(elastic().started(), seen), seen).status
    assert status.phase is Phase.STARTING


def test_it_runs_as_soon_as_enough_run() -> None:
    leader = LeaderState(0, "Running", None)
    seen = observed(pod(0).running(), pod(1).running(), pod(2), leader=leader)
    status = elastic().started().after(decide(elastic().started(), seen), seen).status
    assert status.phase is Phase.RUNNING
    assert status.workers == 3
    assert status.display is not None
    assert status.display.workers == "2/3"
    reasons = {c.type: c.reason for c in status.conditions}
    assert reasons[ConditionType.RUNNING] == "EnoughWorkersRunning"


def test_it_grows() -> None:
    decision = decide(elastic(4).running(), observed(*running(0, 1)))
    assert (decision.step, created(decision), deleted(decision)) == (Step.CONTINUE, P[2:4], [])


def test_it_shrinks_from_the_end_and_the_ends_of_those_are_no_failures() -> None:
    grown = elastic(2).running()
    decision = decide(grown, observed(*running(0, 1, 2, 3)))
    assert (decision.step, created(decision), deleted(decision)) == (Step.CONTINUE, [], P[2:4])
    seen = observed(*running(0, 1), stopped(2), pod(3).running().failed())
    decision = decide(grown, seen)
    assert decision.step is Step.CONTINUE
    status = grown.after(decision, seen).status
    assert (status.phase, status.workers, status.roles[0].failed) == (Phase.RUNNING, 2, 0)


def test_it_grows_again_over_a_pod_that_still_ends() -> None:
    decision = decide(elastic(3).running(), observed(*running(0, 1), pod(2).running().deleting()))
    assert created(decision) == [f"{P[2]}-1"]


@pytest.mark.parametrize(
    "lost",
    [
        killed(2),
        stopped(2),
        pod(2).running().gone(),
        pod(2).running().deleting(),
        pod(2).running().lost(),
        pod(2).running().failed(137, kind=None).disrupted(),
        pod(2).running().failed(1, kind="PeerLost"),
    ],
    ids=["killed", "stopped", "gone", "deleting", "node lost", "evicted", "cut off"],
)
def test_a_lost_worker_is_replaced_and_costs_nothing(lost: PodBuilder) -> None:
    before, seen = elastic().running(), observed(*running(0, 1), lost)
    decision = decide(before, seen)
    assert (decision.step, created(decision), decision.reason) == (
        Step.CONTINUE,
        [f"{P[2]}-1"],
        "WorkerReplaced",
    )
    status = before.after(decision, seen).status
    assert status.replaced == {"2": 1}
    assert (status.restarts.failures, status.restarts.disruptions, status.attempt) == (0, 0, 0)


def test_what_was_replaced_goes_and_is_not_replaced_again() -> None:
    before = elastic().running().with_status(replaced={"2": 1})
    seen = observed(*running(0, 1), stopped(2), replaced(2))
    decision = decide(before, seen)
    assert (decision.step, created(decision), deleted(decision)) == (Step.CONTINUE, [], [P[2]])
    assert before.after(decision, seen).status.roles[0].failed == 0


def test_an_operator_that_died_before_the_creation_goes_on() -> None:
    before = elastic().running().with_status(replaced={"2": 1})
    assert created(decide(before, observed(*running(0, 1), stopped(2)))) == [f"{P[2]}-1"]


def test_who_is_lost_again_and_again_waits_longer_each_time() -> None:
    before = elastic().running().with_status(replaced={"2": 2})
    lost = PodBuilder(replace(stopped(2).state, name=f"{P[2]}-2"))
    decision = decide(before, observed(*running(0, 1), lost))
    assert created(decision) == []
    assert decision.next_look is not None
    assert 10 <= decision.next_look <= 12
    later = decide(before, observed(*running(0, 1), lost), now=NOW + decision.next_look)
    assert created(later) == [f"{P[2]}-3"]


def test_below_the_least_number_the_attempt_restarts() -> None:
    seen = observed(*running(0), pod(1).running().gone(), pod(2).running().gone())
    decision = decide(elastic().running(), seen)
    assert (decision.step, decision.reason) == (Step.RESTART, "PodDeleted")
    status = elastic().running().after(decision, seen).status
    assert (status.restarts.disruptions, status.restarts.failures) == (1, 0)


def test_a_lost_leader_restarts_the_attempt_and_is_not_counted_as_failure() -> None:
    before = elastic().running().with_status(replaced={"2": 1})
    seen = observed(stopped(0).gone(), stopped(1), PodBuilder(replace(stopped(2).state, name=f"{P[2]}-1")))
    decision = decide(before, seen, now=NOW + 2)
    assert (decision.step, decision.reason) == (Step.RESTART, "PodDeleted")
    assert decision.status.failure is not None
    assert decision.status.failure.index == 0
    status = before.after(decision, seen).status
    assert (status.restarts.disruptions, status.restarts.failures, status.attempt) == (1, 0, 1)
    assert status.replaced is None
    after = decide(before.after(decision, seen), observed(), now=NOW + 100)
    assert created(after) == [f"digits-worker-1-{index}" for index in range(3)]


def test_a_leader_that_vanished_restarts_the_attempt() -> None:
    decision = decide(elastic().running(), observed(*running(1, 2)))
    assert (decision.step, decision.reason) == (Step.RESTART, "PodVanished")


def test_a_worker_that_fails_by_itself_spends_the_limit() -> None:
    before = elastic(limit=1, retryExitCodes="1-255").running()
    seen = observed(*running(0, 1), pod(2).running().failed(7, kind="Exit"))
    decision = decide(before, seen)
    assert created(decision) == [f"{P[2]}-1"]
    status = before.after(decision, seen).status
    assert (status.restarts.failures, status.restarts.failed_nodes, status.attempt) == (1, ["node-2"], 0)
    again = PodBuilder(
        replace(pod(2).running().failed(7, kind="Exit", seen=NOW - 60).state, name=f"{P[2]}-1")
    )
    decision = decide(before.after(decision, seen), observed(*running(0, 1), again))
    assert decision.step is Step.FAIL
    assert "restart.limit is 1" in decision.message


@pytest.mark.parametrize("kind", ["Exception", "Exit", "Signal", "Config"])
def test_a_failure_that_restarts_do_not_mend_ends_the_job(kind: str) -> None:
    seen = observed(*running(0, 1), pod(2).running().failed(1, kind=kind, seen=NOW - 2))
    assert decide(elastic(limit=3).running(), seen).step is Step.FAIL


def test_a_worker_without_memory_has_failed() -> None:
    seen = observed(*running(0, 1), pod(2).running().failed(137, kind=None, reason="OOMKilled", seen=NOW - 2))
    decision = decide(elastic().running(), seen)
    assert (decision.step, decision.reason) == (Step.FAIL, "OOMKilled")


def test_before_it_runs_a_lost_worker_ends_the_attempt_as_in_any_job() -> None:
    decision = decide(elastic().started(), observed(pod(0), pod(1), pod(2).gone()))
    assert decision.step is Step.RESTART


def test_it_succeeds_with_its_leader_when_none_of_the_others_runs() -> None:
    before = elastic(4).running()
    ended = [pod(0).succeeded(), pod(1).succeeded()]
    assert decide(before, observed(*ended, pod(2).released(), pod(3).running())).step is Step.CONTINUE
    assert decide(before, observed(*ended, pod(2).released(), stopped(3))).step is Step.SUCCEED
    assert decide(before, observed(*ended)).step is Step.SUCCEED


@pytest.mark.parametrize(
    ("late", "goes"),
    [(pod(2), [P[2]]), (pod(2).running().lost(), []), (pod(2).running().absent_peers(), [])],
    ids=["could not be placed", "lost", "found nobody"],
)
def test_who_had_no_part_in_the_training_does_not_hold_up_its_success(
    late: PodBuilder, goes: list[str]
) -> None:
    seen = observed(pod(0).succeeded(), pod(1).succeeded(), late)
    decision = decide(elastic().clean_pods("None").running(), seen)
    assert (decision.step, deleted(decision)) == (Step.SUCCEED, goes)


def test_nobody_joins_when_the_leader_has_succeeded() -> None:
    decision = decide(elastic(4).running(), observed(pod(0).succeeded(), pod(1).running()))
    assert (decision.step, created(decision)) == (Step.CONTINUE, [])


def test_one_that_fails_after_the_leaders_success_fails_the_job() -> None:
    seen = observed(pod(0).succeeded(), pod(1).running().failed(seen=NOW - 2), pod(2).succeeded())
    assert decide(elastic().running(), seen).step is Step.FAIL


@pytest.mark.parametrize("kind", list(RefusalKind))
def test_a_running_job_does_without_the_pod_that_is_refused(kind: RefusalKind) -> None:
    seen = observed(*running(0, 1), refused=refusal(kind, name=P[2]))
    decision = decide(elastic().running(), seen)
    assert (decision.step, created(decision), deleted(decision), decision.next_look) == (
        Step.CONTINUE,
        [],
        [],
        4.0,
    )
    later = decide(elastic().running(), seen, now=NOW + 4)
    assert created(later) == [P[2]]


def test_a_quota_that_allows_enough_workers_does_not_stop_the_start() -> None:
    refused = refusal(RefusalKind.FORBIDDEN, name=P[2])
    decision = decide(elastic().started(), observed(pod(0), pod(1), refused=refused))
    assert (decision.step, created(decision), deleted(decision)) == (Step.CONTINUE, [], [])
    assert decision.next_look == 4.0
    too_few = decide(elastic().started(), observed(pod(0), refused=refused))
    assert (too_few.step, deleted(too_few)) == (Step.WAIT, [P[0]])


def test_the_scale_subresource_finds_the_workers() -> None:
    seen = observed(*running(0, 1), stopped(2))
    status = elastic().running().after(decide(elastic().running(), seen), seen).status
    assert status.selector == "ftjob.dev/job=digits,ftjob.dev/role=worker"
    assert status.workers == 2
