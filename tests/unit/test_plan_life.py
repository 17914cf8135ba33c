"""Lives of jobs: restarts, lost nodes, suspension, deadlines, and the end after the end."""

from __future__ import annotations

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
    manifests,
    observed,
    pod,
    refusal,
    stamp,
)

from ftjob.models.status import Condition, Phase
from ftjob.plan.observed.state import Observed, RefusalKind
from ftjob.plan.plan import Plan, Step
from ftjob_protocol.leader_state import LeaderState

TWO = job().workers(2)


def retrying(**restart: Any) -> JobBuilder:
    return TWO.with_spec(restart={"limit": 3, "backoffSeconds": 10, **restart}).running()


class Life:
    """A job whose status follows from one decision after the other."""

    def __init__(self, wanted: JobBuilder, now: float = NOW) -> None:
        self.job = wanted
        self.now = now

    def see(self, *pods: PodBuilder, after: float = 0.0, **more: Any) -> Plan:
        self.now += after
        seen: Observed = observed(*pods, **more)
        decision = decide(self.job, seen, now=self.now)
        self.job = self.job.after(decision, seen, now=self.now)
        again = decide(self.job, seen, now=self.now)
        if decision.step in {Step.SUSPEND, Step.HOLD}:
            assert self.job.status == self.job.after(again, seen, now=self.now).status, "it is said once"
        return decision

    def is_(self, phase: Phase) -> bool:
        return self.job.status.phase is phase

    def condition(self, name: str) -> Condition | None:
        return next((c for c in self.job.status.conditions if c.type == name), None)


def failed(index: int, code: int = 137, *, attempt: int = 0, **more: Any) -> PodBuilder:
    return pod(index, attempt=attempt).running().failed(code, kind="Signal", **more)


# -- nodes and networks --------------------------------------------------------------------------------


def test_a_worker_that_is_placed_after_eleven_minutes_is_waited_for() -> None:
    life = Life(TWO.started(NOW))
    why = "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
    for _ in range(66):
        assert life.see(pod(0).running(), pod(1).waiting(why), after=10).step is Step.CONTINUE
    running = life.condition("Running")
    assert running is not None
    assert "digits-worker-0-1" in running.message
    assert "Insufficient cpu" in running.message
    life.see(pod(0).running(), pod(1).running(), after=1)
    assert life.is_(Phase.STARTING), "nobody has said that ranks run"
    life.see(pod(0).running(), pod(1).running(), after=1, leader=LeaderState(0, "Running", None))
    assert life.is_(Phase.RUNNING)
    life.see(pod(0).succeeded(), pod(1).succeeded(), after=1)
    assert life.is_(Phase.SUCCEEDED)


def test_a_cut_network_of_forty_seconds_costs_a_restart_that_is_free() -> None:
    """Both ends of the cut end their ranks after thirty seconds; the limit of restarts is 0."""
    life = Life(TWO.with_spec(restart={"backoffSeconds": 0}).running())
    now = NOW + 30
    both = (pod(0).running().without_contact(seen=now), pod(1).running().without_contact(seen=now))
    assert life.see(*both, after=30).step is Step.RESTART
    assert (life.job.status.restarts.failures, life.job.status.restarts.disruptions) == (0, 1)
    waited = life.see(after=40)
    assert waited.step is Step.START
    life.see(pod(0, attempt=1).running(), pod(1, attempt=1).running(), after=10)
    life.see(pod(0, attempt=1).succeeded(), pod(1, attempt=1).succeeded(), after=10)
    assert life.is_(Phase.SUCCEEDED)


def waiting(*absent: str) -> LeaderState:
    return LeaderState(0, "Waiting", None, absent=absent)


def test_agents_that_do_not_meet_though_their_pods_run_are_named_and_get_new_pods() -> None:
    life = Life(TWO.started(NOW))
    two = (pod(0).running(), pod(1).running())
    life.see(*two)
    assert life.is_(Phase.STARTING)
    assert life.see(*two, leader=waiting("worker-1")).next_look == 10
    assert life.see(*two, leader=waiting("worker-1"), after=10).next_look == 590
    running = life.condition("Running")
    assert running is not None
    assert (running.status, running.reason) == ("False", "PeersAbsent")
    who = "pod digits-worker-0-1 on node-1 did not reach pod digits-worker-0-0 on node-0"
    assert running.message == f"no rank runs yet: {who}"
    decision = life.see(*two, leader=waiting("worker-1"), after=590)
    assert decision.step is Step.RESTART
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]
    failure = life.job.status.failure
    assert failure is not None
    assert (failure.reason, failure.pod, failure.node) == ("PeersAbsent", "digits-worker-0-1", "node-1")
    assert who in failure.message
    assert life.job.status.restarts.disruptions == 1


def test_the_agent_that_is_waited_for_says_why_in_its_own_words() -> None:
    life = Life(TWO.started(NOW))
    two = (pod(0).running(), pod(1).running())
    life.see(*two)
    told = replace(waiting("worker-1"), waits="can't resolve digits-worker-0-0")
    life.see(*two, leader=told, after=11)
    running = life.condition("Running")
    assert running is not None
    assert running.message == "no rank runs yet: worker 1 on node-1 can't resolve digits-worker-0-0"


def test_that_the_leader_cannot_be_asked_is_said_and_ends_nothing() -> None:
    life = Life(TWO.started(NOW))
    two = (pod(0).running(), pod(1).running())
    assert life.see(*two).next_look is None
    assert life.see(*two, after=1).next_look == 9
    for after in (10, 3000):
        assert life.see(*two, after=after, unreached="no answer at 10.0.0.1:20000").step is Step.CONTINUE
        running = life.condition("Running")
        assert running is not None
        assert running.reason == "LeaderUnreached"
        where = "the operator can't ask pod digits-worker-0-0 on node-0 whether the ranks run"
        assert running.message == f"{where}: no answer at 10.0.0.1:20000"
    life.see(pod(0).succeeded(), pod(1).succeeded(), after=1)
    assert life.is_(Phase.SUCCEEDED)


@pytest.mark.parametrize(
    "leader",
    [None, LeaderState(0, "Running", None), LeaderState(1, "Waiting", None)],
    ids=["not known", "they have met", "of another attempt"],
)
def test_only_agents_that_are_known_to_wait_are_ended_for_it(leader: LeaderState | None) -> None:
    life = Life(TWO.running())
    assert life.see(pod(0).running(), pod(1).running(), leader=leader, after=700).step is Step.CONTINUE


# -- restarts -------------------------------------------------------------------------------------------


def test_the_intent_to_restart_is_written_before_the_old_pods_go() -> None:
    life = Life(retrying())
    decision = life.see(failed(0), failed(1, 1))
    assert decision.step is Step.RESTART
    assert decision.next_look == 0, "our own write is no news"
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]
    status = life.job.status
    assert (status.attempt, status.pod_attempt) == (1, 1)
    assert status.restarts.failures == 1
    assert life.is_(Phase.RESTARTING)
    assert status.failure is not None
    assert status.failure.exit_code == 137
    restarting = life.condition("Restarting")
    assert restarting is not None
    assert restarting.reason == "Signal"
    assert "restart 1 of 3" in restarting.message
    assert status.display is not None
    assert (status.display.restarts, status.display.workers) == ("1", "0/2")


def test_two_attempts_never_run_at_once() -> None:
    life = Life(retrying())
    life.see(failed(0), pod(1).running().failed(143, kind="Stopped"))
    held = life.see(failed(0).gone(), pod(1).running().deleting(), after=60)
    assert held.step is Step.HOLD
    assert held.changes.create == ()
    assert held.reason == "OldPodsTerminating"
    began = life.see(failed(0).gone(), failed(1).gone(), after=1)
    assert began.step is Step.START
    assert created(began) == ["digits-worker-1-0", "digits-worker-1-1"]
    assert life.is_(Phase.STARTING)


def test_the_next_attempt_waits_for_its_time() -> None:
    life = Life(retrying(backoffSeconds=100))
    life.see(failed(0), failed(1))
    held = life.see(after=5)
    assert (held.step, held.reason) == (Step.HOLD, "BackingOff")
    assert held.next_look is not None
    assert 94 <= held.next_look <= 116
    assert life.see(after=held.next_look).step is Step.START


def test_a_program_that_ends_at_once_is_started_less_and_less_often() -> None:
    life = Life(TWO.with_spec(restart={"limit": 10000, "backoffSeconds": 0}).started(NOW))
    for attempt, least in enumerate((10, 20, 40, 80, 160, 300, 300)):
        two = [failed(index, attempt=attempt, seen=life.now + 1) for index in range(2)]
        assert life.see(*two, after=1).step is Step.RESTART
        held = life.see()
        assert (held.step, held.reason) == (Step.HOLD, "BackingOff")
        assert held.next_look is not None
        assert least <= held.next_look <= 1.2 * least + 1
        assert life.see(after=held.next_look).step is Step.START


def test_a_restart_is_over_when_all_workers_run_again() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(failed(0), failed(1))
    life.see(after=20)
    new = [pod(i, attempt=1) for i in range(2)]
    life.see(*new, after=5)
    assert life.is_(Phase.STARTING)
    assert life.condition("Restarting") is not None
    life.see(*(p.running() for p in new), after=5)
    assert life.condition("Restarting") is not None, "nobody has said that ranks run"
    life.see(*(p.running() for p in new), leader=LeaderState(1, "Running", None))
    assert life.is_(Phase.RUNNING)
    assert life.condition("Restarting") is None
    assert life.job.status.restarts.lost_seconds == 30


@pytest.mark.parametrize("end", [Phase.SUCCEEDED, Phase.FAILED])
def test_time_is_lost_also_where_nobody_saw_all_workers_run_again(end: Phase) -> None:
    life = Life(retrying(limit=1, backoffSeconds=0))
    life.see(failed(0), failed(1))
    life.see(after=20)
    new = [pod(i, attempt=1) for i in range(2)]
    if end is Phase.SUCCEEDED:
        life.see(*(p.succeeded() for p in new), after=5)
    else:
        life.see(failed(0, attempt=1), failed(1, attempt=1), after=5)
    assert life.is_(end)
    assert life.job.status.restarts.lost_seconds == 25


def test_successes_of_an_attempt_that_failed_do_not_count_in_the_next() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(pod(0).succeeded(), failed(1))
    assert life.job.status.roles[0].succeeded_indexes == ""
    assert created(life.see(after=1)) == ["digits-worker-1-0", "digits-worker-1-1"]


def test_the_last_failure_ends_the_job_and_says_why_there_is_no_other() -> None:
    life = Life(retrying(limit=1, backoffSeconds=0))
    life.see(failed(0), failed(1))
    life.see(after=1)
    decision = life.see(failed(0, attempt=1), failed(1, attempt=1), after=60)
    assert decision.step is Step.FAIL
    assert "restart.limit is 1" in decision.message
    assert life.is_(Phase.FAILED)
    assert life.job.status.restarts.failures == 1


def test_a_failure_without_restarts_says_nothing_of_them() -> None:
    decision = Life(TWO.running()).see(failed(0), failed(1))
    assert decision.step is Step.FAIL
    assert "restart" not in decision.message


def test_only_the_first_failing_rank_is_judged() -> None:
    culprit, victim = failed(0, 137, at=NOW - 1), pod(1).running().failed(1, kind="PeerLost")
    assert Life(retrying()).see(culprit, victim).step is Step.RESTART


def test_a_victim_is_not_judged_while_the_culprit_has_not_been_seen_to_end() -> None:
    """An exit with 143 would be tried again, and one with 1 would not: both are the culprit's to decide."""
    victim, culprit = pod(1).running().failed(143, kind="Stopped"), pod(0).running()
    life = Life(retrying())
    waits = life.see(culprit, victim, after=10)
    assert (waits.step, waits.next_look) == (Step.CONTINUE, 110)
    decision = life.see(culprit.failed(1, kind="Exit", seen=NOW + 20), victim, after=10)
    assert decision.step is Step.FAIL
    assert "exit code 1 is not in restart.retryExitCodes" in decision.message


def test_a_victim_of_a_node_that_is_marked_as_lost_later_spends_no_restart() -> None:
    victim = pod(0).running().failed(143, kind="Stopped")
    life = Life(TWO.running())
    assert life.see(victim, pod(1).running(), after=30).step is Step.CONTINUE
    assert life.see(victim, pod(1).running().lost(NOW + 50), after=22).step is Step.RESTART
    assert (life.job.status.restarts.failures, life.job.status.restarts.disruptions) == (0, 1)


def test_a_victim_is_judged_at_last_if_nobody_else_ends() -> None:
    decision = Life(TWO.running()).see(pod(0).running(), pod(1).failed(kind="PeerLost"), after=120)
    assert decision.step is Step.FAIL


def test_a_rank_that_goes_on_after_its_exception_is_not_ended_for_its_victims_sake() -> None:
    life = Life(TWO.with_spec(exceptionGraceSeconds=600).running())
    goes_on, victim = pod(0).running(), pod(1).running().failed(143, kind="Stopped")
    assert life.see(goes_on, victim, after=650).step is Step.CONTINUE
    assert life.see(goes_on.failed(1, seen=NOW + 655), victim, after=5).step is Step.FAIL
    assert life.job.status.failure is not None
    assert life.job.status.failure.rank == 0


def test_a_success_in_spite_of_an_exception_says_so() -> None:
    text = "rank 1 ended with code 0 after an uncaught exception: ValueError: x"
    life = Life(TWO.running())
    decision = life.see(pod(0).succeeded(), pod(1).succeeded(warning=text))
    assert (decision.step, decision.reason, decision.message) == (Step.SUCCEED, "ExceptionSurvived", text)
    said = life.condition("Succeeded")
    assert said is not None
    assert said.message == f"all workers that count have succeeded; {text}"


def test_quota_that_refuses_a_later_attempt_takes_it_back_and_waits() -> None:
    life = Life(retrying(backoffSeconds=0))
    life.see(failed(0), failed(1))
    life.see(after=1)
    assert life.is_(Phase.STARTING)
    first = pod(0, attempt=1)
    held = life.see(first, refused=refusal(RefusalKind.FORBIDDEN), after=-1)
    assert (held.step, held.reason) == (Step.HOLD, "CreationForbidden")
    assert deleted(held) == ["digits-worker-1-0"]
    assert life.job.status.start_time is not None
    assert life.see(first.deleting(), after=10).reason == "TakingBackPods"
    assert created(life.see(after=1)) == ["digits-worker-1-0", "digits-worker-1-1"]
    assert life.job.status.restarts.failures == 1


def test_after_two_failures_on_a_node_the_next_attempt_prefers_others() -> None:
    life = Life(retrying(backoffSeconds=0))
    for attempt in range(2):
        life.see(failed(0, attempt=attempt), failed(1, attempt=attempt), after=60)
        plan = life.see(after=60)
    assert life.job.status.restarts.failed_nodes == ["node-0", "node-0"]
    pods = manifests(plan, "Pod")
    [wish] = pods[1]["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    [term] = wish["preference"]["matchExpressions"]
    assert term == {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-0"]}


# -- disruptions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pods",
    [
        (pod(0).running(), pod(1).running().gone()),
        (pod(0).running(), pod(1).failed(137, kind=None).disrupted("EvictionByEvictionAPI")),
        (pod(0).running().failed(143, kind="Stopped").deleting(), pod(1).failed(1, kind="PeerLost")),
        (pod(0).running(),),
        (pod(0).running(), pod(1).running().lost(NOW - 3)),
    ],
    ids=["deleted", "evicted", "deleted with a word", "vanished", "on a lost node"],
)
def test_disruptions_are_free(pods: tuple[PodBuilder, ...]) -> None:
    life = Life(TWO.running())
    decision = life.see(*pods, after=3)
    assert decision.step is Step.RESTART, "though restart.limit is 0"
    assert (life.job.status.restarts.failures, life.job.status.restarts.disruptions) == (0, 1)


@pytest.mark.parametrize(
    "ended",
    [
        pod(1).failed(137, kind="Signal", reason="OOMKilled"),
        pod(1).failed(137, kind=None, reason="OOMKilled").disrupted("TerminationByKubelet"),
        pod(1).failed(137, kind=None, reason="Evicted"),
        pod(1).failed(1),
    ],
    ids=["OOM", "OOM with a condition", "evicted for its own disk use", "exception"],
)
def test_what_the_program_did_itself_is_no_disruption(ended: PodBuilder) -> None:
    assert Life(TWO.running()).see(pod(0).failed(kind="PeerLost"), ended).step is Step.FAIL


def test_disruptions_without_a_step_in_between_end_some_day() -> None:
    life = Life(TWO.running())
    for attempt in range(11):
        decision = life.see(*(pod(i, attempt=attempt).running().gone() for i in range(2)), after=30)
        if attempt < 10:
            assert decision.step is Step.RESTART, attempt
            life.see(after=400)
            life.see(*(pod(i, attempt=attempt + 1).running() for i in range(2)), after=1)
    assert decision.step is Step.FAIL
    assert "11 disruptions in a row" in decision.message


# -- lost nodes -----------------------------------------------------------------------------------------


def test_a_pod_on_a_lost_node_holds_the_job_until_it_is_fenced() -> None:
    life = Life(TWO.running())
    lost = pod(1).running().lost(NOW)
    assert life.see(pod(0).running(), lost, after=3).step is Step.RESTART
    ends = {0: life.now + 1}
    assert life.see(lost, last_ends=ends, after=20).reason == "OldPodsTerminating"
    began = life.see(lost, last_ends=ends, after=17)
    assert began.step is Step.START
    assert created(began) == ["digits-worker-1-0", "digits-worker-1-1"]
    assert began.changes.delete == ()


@pytest.mark.parametrize(
    ("grace", "ends", "held"),
    [(30, {0: NOW}, 35), (30, {}, 55), (600, {0: NOW}, 605), (600, {0: NOW + 20}, 625)],
    ids=["others have ended", "others live", "long grace period", "of its peers too"],
)
def test_a_pod_that_was_told_to_end_before_its_node_was_lost_may_live_on(
    grace: int, ends: dict[int, float], held: float
) -> None:
    """From the loss the others are missed; and ranks that write a checkpoint do so whoever they miss."""
    template = {**TWO.spec["template"], "spec": {**TWO.spec["template"]["spec"]}}
    template["spec"]["terminationGracePeriodSeconds"] = grace
    life = Life(TWO.template(template).running())
    leaving = pod(1).running().deleting(NOW)
    assert life.see(pod(0).running().gone(), leaving, after=3).step is Step.RESTART
    lost = leaving.lost(NOW + 20)
    assert life.see(lost, last_ends=ends, after=held - 4).reason == "OldPodsTerminating"
    assert life.see(lost, last_ends=ends, after=2).step is Step.START


def test_a_worker_that_was_alone_on_a_lost_node_is_waited_for() -> None:
    life = Life(job().running())
    lost = pod(0).running().lost(NOW)
    assert life.see(lost, after=3).step is Step.RESTART
    held = life.see(lost, after=3600)
    assert held.step is Step.HOLD
    assert "delete it from the cluster" in held.message
    assert life.see(after=1).step is Step.START


def test_pods_on_lost_nodes_that_may_still_see_each_other_are_waited_for() -> None:
    """Two nodes of one zone are cut off together: their ranks train on, and miss nobody."""
    life = Life(TWO.running())
    both = pod(0).running().lost(NOW), pod(1).running().lost(NOW)
    assert life.see(*both, after=3).step is Step.RESTART
    held = life.see(*both, after=3600)
    assert held.reason == "OldPodsTerminating"
    assert "delete it from the cluster" in held.message
    assert life.see(both[0], last_ends={0: life.now + 10}, after=40).reason == "OldPodsTerminating"
    assert life.see(both[0], last_ends={0: life.now - 30}, after=6).step is Step.START


def test_a_leader_that_has_succeeded_is_missed_by_those_on_lost_nodes() -> None:
    """It stays until all others have ended, as far as it hears of them."""
    life = Life(TWO.running())
    done, lost = pod(0).running().succeeded(), pod(1).running().lost(NOW)
    assert life.see(done, lost, after=3).step is Step.RESTART
    ends = {0: NOW + 31}
    assert life.see(done, lost, last_ends=ends, after=60).reason == "OldPodsTerminating"
    assert deleted(life.see(done, lost, last_ends=ends, after=4)) == ["digits-worker-0-0"]
    assert life.see(lost, last_ends=ends, after=1).step is Step.START


def test_a_worker_that_has_succeeded_is_not_missed_on_a_lost_node() -> None:
    life = Life(TWO.running())
    lost, done = pod(0).running().lost(NOW), pod(1).running().succeeded()
    assert deleted(life.see(done, lost, after=3)) == [], "it is the evidence, even for another operator"
    held = life.see(done, lost, after=3600)
    assert (held.reason, held.changes.delete) == ("OldPodsTerminating", ())
    assert life.see(lost, after=3600).reason == "OldPodsTerminating", "whoever deleted the other one"
    assert deleted(life.see(done, after=1)) == ["digits-worker-0-1"]
    assert life.see(after=1).step is Step.START
    assert life.job.status.restarts.succeeded == {"0": 1}


def test_a_success_counts_though_its_pod_was_deleted_before_the_loss() -> None:
    life = Life(TWO.running())
    life.see(pod(0).running(), pod(1).succeeded())
    lost = pod(0).running().lost(NOW)
    assert life.see(lost, after=3).step is Step.RESTART
    assert life.see(lost, after=3600).reason == "OldPodsTerminating"


@pytest.mark.parametrize(
    ("least", "index", "is_fenced"),
    [(1, 0, False), (2, 0, True), (1, 1, True)],
    ids=["leader, enough alone", "leader, too few", "another worker"],
)
def test_a_lost_leader_of_an_elastic_job_may_go_on_with_few(least: int, index: int, is_fenced: bool) -> None:
    bounds = {"minWorkers": least, "maxWorkers": 4}
    life = Life(job().strategy("Torchrun").workers(2).with_spec(elastic=bounds).running())
    lost = pod(index).running().lost(NOW)
    assert life.see(lost, pod(1 - index).running().gone(), after=3).step is Step.RESTART
    ends = {0: NOW + 10}
    assert life.see(lost, last_ends=ends, after=48).reason == "OldPodsTerminating", "until 52 s"
    then = life.see(lost, last_ends=ends, after=2)
    assert (then.step is Step.START) is is_fenced, then


def test_a_pod_that_ends_slowly_on_a_healthy_node_is_not_fenced() -> None:
    life = Life(TWO.running())
    slow = pod(1).running().deleting()
    life.see(pod(0).running().gone(), slow)
    assert life.see(slow, last_ends={0: NOW}, after=3600).reason == "OldPodsTerminating"


# -- suspend --------------------------------------------------------------------------------------------


def test_a_job_that_is_suspended_from_the_beginning_has_no_pods_and_may_be_edited() -> None:
    life = Life(TWO.with_spec(suspend=True))
    decision = life.see()
    assert (decision.step, decision.changes.create) == (Step.SUSPEND, ())
    assert life.is_(Phase.SUSPENDED)
    assert life.job.status.start_time is None
    life.job = life.job.edited(suspend=False)
    assert life.see(after=60).step is Step.START


def test_suspending_stops_the_pods_and_resuming_starts_a_new_attempt() -> None:
    running = (pod(0).running(), pod(1).running())
    life = Life(TWO.running().edited(suspend=True))
    decision = life.see(*running)
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]
    assert life.is_(Phase.SUSPENDED)
    assert life.job.status.attempt == 1
    assert life.job.status.restarts.failures + life.job.status.restarts.disruptions == 0
    ending = tuple(p.deleting() for p in running)
    life.see(*ending, after=2)
    life.job = life.job.edited(suspend=False)
    assert life.see(*ending, after=1).reason == "OldPodsTerminating"
    began = life.see(after=10)
    assert began.step is Step.START
    assert created(began) == ["digits-worker-1-0", "digits-worker-1-1"]
    resumed = life.condition("Suspended")
    assert resumed is not None
    assert (resumed.status, resumed.reason) == ("False", "Resumed")


def test_suspending_again_and_again_counts_no_attempt_that_had_no_pods() -> None:
    life = Life(TWO.with_spec(suspend=True))
    for _ in range(3):
        life.see(after=1)
    assert life.job.status.attempt == 0


def test_an_invalid_job_is_refused_though_it_is_suspended() -> None:
    assert Life(TWO.with_trainer(command=None).with_spec(suspend=True)).see().step is Step.REFUSE


# -- deadline, start timeout, time to live --------------------------------------------------------------


def test_the_deadline_stops_what_runs() -> None:
    wanted = TWO.with_spec(activeDeadlineSeconds=100, cleanPods="None").running()
    running = (pod(0).running(), pod(1).running())
    life = Life(wanted)
    assert life.see(*running).next_look == 40
    decision = life.see(*running, after=40)
    assert (decision.step, decision.reason) == (Step.FAIL, "DeadlineExceeded")
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"], "whatever cleanPods says"
    assert life.job.status.active_seconds == 100


def test_the_deadline_stands_still_while_the_job_is_suspended() -> None:
    running = (pod(0).running(), pod(1).running())
    life = Life(TWO.with_spec(activeDeadlineSeconds=100).running().edited(suspend=True))
    life.see(*running)
    assert life.job.status.active_seconds == 60
    life.see(after=10_000)
    life.job = life.job.edited(suspend=False)
    assert life.see(after=1).next_look == 40
    assert life.job.status.active_seconds == 60
    assert life.see(pod(0, attempt=1), pod(1, attempt=1), after=41).reason == "DeadlineExceeded"


def test_the_deadline_holds_between_attempts_too() -> None:
    life = Life(retrying(backoffSeconds=300).with_spec(activeDeadlineSeconds=100))
    life.see(failed(0), failed(1))
    assert life.see(after=1).next_look == 39
    assert life.see(after=39).reason == "DeadlineExceeded"


def test_workers_that_do_not_start_in_time_end_the_job_and_no_pod_stays() -> None:
    wanted = TWO.with_spec(scheduling={"timeoutSeconds": 90}).started(NOW)
    stuck = (pod(0).running(), pod(1).waiting("Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."))
    life = Life(wanted)
    assert life.see(*stuck).next_look == 90
    decision = life.see(*stuck, after=90)
    assert (decision.step, decision.reason) == (Step.FAIL, "StartTimeout")
    assert "Insufficient cpu" in decision.message
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]


def test_the_time_to_start_is_that_of_each_attempt() -> None:
    life = Life(retrying(backoffSeconds=0).with_spec(scheduling={"timeoutSeconds": 90}))
    life.see(failed(0), failed(1), after=1000)
    life.see(after=10)
    assert life.see(pod(0, attempt=1), pod(1, attempt=1), after=80).step is Step.CONTINUE
    assert life.see(pod(0, attempt=1), pod(1, attempt=1), after=10).reason == "StartTimeout"


def test_once_all_have_run_the_time_to_start_is_over() -> None:
    wanted = TWO.with_spec(scheduling={"timeoutSeconds": 10}).running()
    assert Life(wanted).see(pod(0).running(), pod(1).running(), after=99).next_look is None


def test_a_finished_job_goes_when_its_time_to_live_is_over() -> None:
    wanted = TWO.with_spec(ttlSecondsAfterFinished=60).running()
    life = Life(wanted)
    assert life.see(pod(0).succeeded(), pod(1).succeeded()).next_look == 60
    assert life.is_(Phase.SUCCEEDED)
    waits = life.see(after=10)
    assert (waits.next_look, waits.changes.delete_job) == (50, False)
    assert life.see(after=50).changes.delete_job


def test_without_a_time_to_live_a_finished_job_stays() -> None:
    life = Life(TWO.running())
    life.see(pod(0).succeeded(), pod(1).succeeded())
    assert not life.see(after=10**9).changes.delete_job
    assert life.job.status.completion_time == stamp(NOW)
