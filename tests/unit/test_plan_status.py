"""The status that follows from a decision."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, JobBuilder, decide, job, observed, pod, refusal, stamp

from ftjob.models.status import Capture, ConditionType, Display, JobStatus, Phase, ProfileStatus, Progress
from ftjob.plan.observed.state import Observed, RefusalKind
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.leader_state import LeaderState

TWO = job().workers(2)


def status(wanted: JobBuilder, seen: Observed, *, now: float = NOW) -> JobStatus:
    return derive_status(wanted.build(), seen, decide(wanted, seen, now=now), now=now)


def conditions(found: JobStatus) -> dict[str, str]:
    return {condition.type.value: condition.status for condition in found.conditions}


def report(attempt: int = 0, **progress: Any) -> LeaderState:
    return LeaderState(attempt=attempt, state="Running", progress=progress)


def progress(*, wanted: JobBuilder | None = None, **told: Any) -> Progress | None:
    return status(wanted or job().running(), observed(pod(0).running(), leader=report(**told))).progress


LIVES = [
    ("first start", TWO, observed(), Phase.STARTING, {"Admitted": "True", "Running": "False"}),
    ("half runs", TWO.started(), observed(pod(0).running(), pod(1)), Phase.STARTING,
     {"Admitted": "True", "Running": "False"}),
    ("all pods run", TWO.started(), observed(pod(0).running(), pod(1).running()), Phase.STARTING,
     {"Admitted": "True", "Running": "False"}),
    ("all pods run, and the agents wait", TWO.running(), observed(
     pod(0).running(), pod(1).running(), leader=LeaderState(0, "Waiting", None)), Phase.STARTING,
     {"Admitted": "True", "Running": "False"}),
    ("all pods run, and the leader says of another attempt that it runs", TWO.started(), observed(
     pod(0).running(), pod(1).running(), leader=LeaderState(1, "Running", None)), Phase.STARTING,
     {"Admitted": "True", "Running": "False"}),
    ("all run", TWO.started(), observed(
     pod(0).running(), pod(1).running(), leader=LeaderState(0, "Running", None)), Phase.RUNNING,
     {"Admitted": "True", "Running": "True"}),
    ("one has succeeded already", TWO.started(), observed(pod(0).succeeded(), pod(1).running()),
     Phase.RUNNING, {"Admitted": "True", "Running": "True"}),
    ("a worker that fails later leaves it running", TWO.running(),
     observed(pod(0).failed(seen=NOW), pod(1).running()), Phase.RUNNING,
     {"Admitted": "True", "Running": "True"}),
    ("succeeded", TWO.running(), observed(pod(0).succeeded(), pod(1).succeeded()), Phase.SUCCEEDED,
     {"Admitted": "True", "Running": "False", "Succeeded": "True", "Finished": "True"}),
    ("failed", TWO.running(), observed(pod(0).failed(), pod(1).failed()), Phase.FAILED,
     {"Admitted": "True", "Running": "False", "Failed": "True", "Finished": "True"}),
    ("waits", TWO, observed(predecessors=("old",)), Phase.PENDING, {"Admitted": "False"}),
    ("invalid", job().with_trainer(command=None), observed(), Phase.FAILED,
     {"Admitted": "False", "Failed": "True", "Finished": "True"}),
]  # fmt: skip


def test_a_watchdog_without_steps_says_so_in_the_condition_running() -> None:
    wanted, runs = job().running(), pod(0).running()

    def running(wanted: JobBuilder, told: LeaderState | None) -> tuple[str, str]:
        found = status(wanted, observed(runs, leader=told))
        [condition] = [c for c in found.conditions if c.type is ConditionType.RUNNING]
        assert condition.status == "True"
        return condition.reason, condition.message

    quiet = LeaderState(0, "Running", None)
    idle = dataclasses.replace(quiet, watchdog="the watchdog has no steps to watch")
    assert running(wanted, quiet) == ("AllWorkersRunning", "all workers run")
    said = ("NoStepsSeen", "all workers run; the watchdog has no steps to watch")
    assert running(wanted, idle) == said
    assert running(wanted, dataclasses.replace(idle, attempt=7))[0] == "AllWorkersRunning"
    later = wanted.after(decide(wanted, observed(runs, leader=idle)), observed(runs, leader=idle))
    assert running(later, None) == said  # the operator was restarted, and has not asked yet
    assert running(later, quiet) == ("AllWorkersRunning", "all workers run")


@pytest.mark.parametrize(
    ("wanted", "seen", "phase", "held"), [life[1:] for life in LIVES], ids=[life[0] for life in LIVES]
)
def test_phase_and_conditions(wanted: JobBuilder, seen: Observed, phase: Phase, held: dict[str, str]) -> None:
    found = status(wanted, seen)
    assert found.phase is phase
    assert conditions(found) == held
    assert (found.completion_time is not None) is (phase.is_final and found.start_time is not None)


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life[0])
def test_the_same_input_gives_the_same_bytes(life: tuple[str, JobBuilder, Observed, Phase, Any]) -> None:
    first, second = (json.dumps(status(life[1], life[2]).to_wire()) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life[0])
def test_later_the_same_state_writes_nothing_new(
    life: tuple[str, JobBuilder, Observed, Phase, Any],
) -> None:
    """What stands still is not written again, minutes later: else every reconcile would be a write."""
    _, wanted, seen, _, _ = life
    once = wanted.after(decide(wanted, seen), seen)
    twice = status(once, seen, now=NOW + 1)
    assert twice.to_wire() == once.status.to_wire()


def test_start_and_running_time_are_set_once() -> None:
    started = TWO.after(decide(TWO, observed()), observed())
    assert started.status.start_time == stamp(NOW)
    both = observed(pod(0).running(), pod(1).running())
    running = started.after(decide(started, both), both, now=NOW + 5)
    assert (running.status.start_time, running.status.running_time) == (stamp(NOW), stamp(NOW + 5))
    ended = observed(pod(0).succeeded(), pod(1).succeeded())
    final = status(running, ended, now=NOW + 65)
    assert (final.start_time, final.running_time) == (stamp(NOW), stamp(NOW + 5))
    assert (final.completion_time, final.active_seconds) == (stamp(NOW + 65), 65)


def test_transition_times_stand_still_while_the_status_of_a_condition_does() -> None:
    pulling = observed(pod(0).waiting("ErrImagePull: no such image"))
    first = job().started().after(decide(job().started(), pulling), pulling)
    backing_off = observed(pod(0).waiting("ImagePullBackOff: later"))
    second = first.after(decide(first, backing_off), backing_off, now=NOW + 60)
    runs = observed(pod(0).running(), leader=LeaderState(0, "Running", None))
    third = second.after(decide(second, runs), runs, now=NOW + 90)

    def of(wanted: JobBuilder) -> tuple[str, str]:
        found = next(c for c in wanted.status.conditions if c.type is ConditionType.RUNNING)
        return found.reason, found.last_transition_time

    assert of(first) == ("ErrImagePull", stamp(NOW))
    assert of(second) == ("ImagePullBackOff", stamp(NOW))
    assert of(third) == ("AllWorkersRunning", stamp(NOW + 90))


def test_rest_keeps_the_status() -> None:
    seen = observed(pod(0).failed(seen=NOW - 9), pod(1).running())
    failed = TWO.running().after(decide(TWO.running(), seen), seen)
    assert status(failed, observed(), now=NOW + 999) == failed.status


def test_a_job_that_waits_again_may_be_edited_again() -> None:
    seen = observed(pod(0).running(), refused=refusal(RefusalKind.FORBIDDEN))
    found = status(TWO.started(), seen)
    assert (found.phase, found.start_time, found.roles[0].ready) == (Phase.PENDING, None, 0)
    assert found.conditions[0].message == "Pod digits-worker-0-0: Forbidden says the server"


def test_why_pods_do_not_run_is_said_once_for_all() -> None:
    why = "Unschedulable: 0/3 nodes"
    found = status(TWO.started(), observed(pod(0).waiting(why), pod(1).waiting(why)))
    running = next(c for c in found.conditions if c.type is ConditionType.RUNNING)
    assert (running.reason, running.message) == (
        "Unschedulable", "pod digits-worker-0-0 (and 1 more): 0/3 nodes",
    )  # fmt: skip


def test_pods_are_counted_and_successes_recorded() -> None:
    wanted = job().workers(4).running()
    seen = observed(pod(0).running(), pod(1).succeeded(), pod(2).failed(), pod(3).succeeded())
    role = status(wanted, seen).roles[0]
    assert (role.desired, role.ready, role.succeeded, role.failed) == (4, 1, 2, 1)
    assert role.succeeded_indexes == "1,3"


def test_each_role_is_counted() -> None:
    wanted = job().strategy("ParameterServer").workers(2).running()
    chief, server = pod(role="chief"), pod(role="ps")
    seen = observed(chief.succeeded(), pod(0).running(), pod(1).released(), server.running())
    found = status(wanted, seen)
    counted = [(r.name, r.desired, r.ready, r.succeeded, r.failed, r.succeeded_indexes) for r in found.roles]
    assert counted == [("chief", 1, 0, 1, 0, "0"), ("worker", 2, 1, 0, 0, ""), ("ps", 1, 1, 0, 0, "")]
    assert found.phase is Phase.SUCCEEDED
    assert found.display is not None
    assert found.display.workers == "1/4"
    running = observed(chief.running(), pod(0).running(), pod(1).running(), server.running())
    assert status(wanted, running).display == Display(workers="4/4", restarts="0")
    waiting = status(job().strategy("ParameterServer"), observed(predecessors=("old",)))
    assert [(r.name, r.desired) for r in waiting.roles] == [("chief", 1), ("worker", 1), ("ps", 1)]


def test_a_job_runs_when_all_roles_do() -> None:
    wanted = job().strategy("ParameterServer").started()
    seen = observed(pod(role="chief").running(), pod(0).running(), pod(role="ps"))
    assert status(wanted, seen).phase is Phase.STARTING


def test_the_last_word_on_progress_is_the_chiefs() -> None:
    wanted = job().strategy("ParameterServer").running()
    ended = pod(role="chief").succeeded(progress={"step": 9}), pod(0).released(), pod(role="ps").released()
    found = status(wanted, observed(*ended)).progress
    assert found is not None
    assert found.step == 9


def test_who_ends_earlier_does_not_speak_for_the_leader() -> None:
    wanted = job().strategy("ParameterServer").roles(evaluator=1).running()
    others = pod(0).running(), pod(role="ps").running()
    evaluator = pod(role="evaluator").succeeded(progress={"step": 1})
    seen = observed(pod(role="chief").running(), *others, evaluator, leader=report(step=7))
    found = status(wanted, seen).progress
    assert found is not None
    assert found.step == 7


def test_recorded_successes_survive_their_pods() -> None:
    wanted = job().workers(3).running().recorded("0-1")
    role = status(wanted, observed(pod(2).running())).roles[0]
    assert (role.succeeded, role.failed, role.succeeded_indexes) == (2, 0, "0-1")
    assert status(wanted, observed(pod(1).gone(), pod(2).running())).roles[0].failed == 0


def test_a_failed_job_says_who_failed() -> None:
    seen = observed(pod(0).failed(kind="PeerLost"), pod(1).running().failed(3, rank=1, text="boom"))
    found = status(TWO.running(), seen)
    assert found.failure is not None
    assert (found.failure.rank, found.failure.exit_code, found.failure.node) == (1, 3, "node-1")
    failed = next(c for c in found.conditions if c.type is ConditionType.FAILED)
    assert failed.reason == "Exception"
    assert failed.message == "rank 1 (pod digits-worker-0-1 on node-1) failed with exit code 3: boom"


def test_progress_is_told_with_percent_and_eta() -> None:
    found = progress(step=30, totalSteps=120, stepSeconds=0.5, epoch=1, metrics={"loss": 0.25}, timeNs=10**18)
    assert found is not None
    assert (found.step, found.percent, found.eta_seconds, found.epoch) == (30, 25.0, 45, 1)
    assert (found.metrics, found.updated_time) == ({"loss": 0.25}, stamp(10**9))


def test_numbers_that_the_api_can_not_hold_are_dropped() -> None:
    nan, inf = float("nan"), float("inf")
    found = progress(
        step=3,
        totalSteps=inf,
        stepSeconds=nan,
        epoch=-inf,
        metrics={"loss": nan, "lr": 0.1, "n": inf, "x": "1"},
    )
    assert found is not None
    assert (found.step, found.total_steps, found.eta_seconds, found.epoch) == (3, None, None, None)
    assert found.metrics == {"lr": 0.1}


NUMBER = (
    st.integers(-(10**330), 10**330)
    | st.floats()
    | st.sampled_from([2**63, 2**63 - 1, 1e308, 5e-324, -1, 0, True])
    | st.text(max_size=2)
    | st.none()
)


@given(
    st.dictionaries(
        st.sampled_from(["step", "totalSteps", "stepSeconds", "epoch", "timeNs", "metrics"]), NUMBER
    ),
    st.dictionaries(st.text(max_size=3), NUMBER, max_size=3),
)
def test_no_report_breaks_the_status(told: dict[str, Any], metrics: dict[str, Any]) -> None:
    found = progress(**{"metrics": metrics, **told})
    if found is not None:
        wire = json.dumps(found.model_dump(), allow_nan=False)
        for number in json.loads(wire).values():
            assert not isinstance(number, int) or abs(number) < 2**63


def test_the_last_word_of_the_leader_counts_more_than_its_last_report() -> None:
    seen = observed(
        pod(0).succeeded(progress={"step": 100, "stepSeconds": None}),
        leader=report(step=97, totalSteps=100, stepSeconds=0.2),
    )
    found = status(job().running(), seen).progress
    assert found is not None
    assert (found.step, found.total_steps, found.eta_seconds, found.step_seconds) == (100, 100, 0, 0.2)


def test_a_report_of_another_attempt_is_old_news() -> None:
    old = Progress(step=5)
    wanted = job().running().with_status(progress=old, attempt=1)
    assert progress(wanted=wanted, step=9) == old


def test_metrics_are_bounded() -> None:
    found = progress(step=1, metrics={f"m{i:03}": i for i in range(99)})
    assert found is not None
    assert len(found.metrics) == 32


@pytest.mark.parametrize(
    ("told", "shown", "eta"),
    [
        ({"step": 30, "totalSteps": 120, "stepSeconds": 1}, "25%", "90s"),
        ({"step": 0, "totalSteps": 100, "stepSeconds": 3}, "0%", "5m"),
        ({"step": 0, "totalSteps": 100, "stepSeconds": 100}, "0%", "2h46m"),
        ({"step": 0, "totalSteps": 100, "stepSeconds": 5184}, "0%", "6d"),
        ({"step": 7}, "step 7", ""),
        ({"metrics": {"loss": 1.0}}, "", ""),
    ],
)
def test_printer_columns(told: dict[str, Any], shown: str, eta: str) -> None:
    found = status(job().running(), observed(pod(0).running(), leader=report(**told))).display
    assert found is not None
    assert (found.workers, found.progress, found.eta, found.restarts) == ("1/1", shown, eta, "0")


SCHEDULED = (
    job()
    .strategy("Horovod")
    .workers(2)
    .processes(2)
    .outputs(size="1Gi")
    .with_spec(profiling={"mode": "Scheduled"})
)


def test_captures_say_which_ranks_are_missing() -> None:
    live = LeaderState(0, "Running", None, captures={"s0": (range(2),)})
    running = status(SCHEDULED.running(), observed(pod(0).running(), pod(1).running(), leader=live))
    assert running.profile is not None
    assert [(c.id, c.phase, c.ranks, c.path) for c in running.profile.captures] == [
        ("s0", "Capturing", "2/4", "captures/s0")
    ]
    ended = observed(pod(0).succeeded(captures={"s0": [0, 1]}), pod(1).succeeded(captures={"s0": [3]}))
    partial = status(SCHEDULED.running(), ended)
    assert partial.profile is not None
    assert [(c.phase, c.ranks, c.reason) for c in partial.profile.captures] == [
        ("Partial", "3/4", "no capture from ranks 2")
    ]
    whole = observed(pod(0).succeeded(captures={"s0": [0, 1]}), pod(1).succeeded(captures={"s0": [2, 3]}))
    ready = status(SCHEDULED.running(), whole)
    assert ready.profile is not None
    assert (ready.profile.last_capture_id, ready.profile.captures[0].phase) == ("s0", "Ready")


def test_a_scheduled_capture_that_an_earlier_attempt_has_begun_is_partial_when_no_later_one_came_to_it() -> (
    None
):
    begun = ProfileStatus(captures=[Capture(id="s0", phase="Capturing", ranks="2/4", path="captures/s0")])
    again = SCHEDULED.running().with_status(profile=begun)
    anew = status(again, observed(pod(0).running(), pod(1).running(), leader=LeaderState(0, "Running", None)))
    assert anew.profile is not None
    assert anew.profile.captures == begun.captures
    ended = status(again, observed(pod(0).succeeded(), pod(1).succeeded()))
    assert ended.profile is not None
    assert [(c.id, c.phase, c.ranks, c.path, c.reason) for c in ended.profile.captures] == [
        ("s0", "Partial", "2/4", "captures/s0", "the attempt ended before the capture was whole")
    ]


@pytest.mark.parametrize(
    ("said", "captures", "shown"),
    [
        ({}, {}, ("s0", "NotReached", "no step was seen, the first capture begins at step 18")),
        ({"progress": {"step": 1}}, {}, ("s0", "NotReached", "1 step, the first capture begins at step 18")),
        (
            {"progress": {"step": 40}, "notes": ("rank 0: no profiler",)},
            {},
            ("s0", "Failed", "40 steps, the first capture begins at step 18; rank 0: no profiler"),
        ),
        (
            {"progress": {"step": 20}},
            {"s0": [0, 1, 2, 3]},
            ("s1", "NotReached", "20 steps, capture s1 begins at step 28"),
        ),
    ],
)  # fmt: skip
def test_a_capture_that_the_job_never_came_to_is_told_at_its_end(
    said: dict[str, Any], captures: dict[str, list[int]], shown: tuple[str, str, str]
) -> None:
    wanted = SCHEDULED.with_spec(profiling={"mode": "Scheduled", "schedule": {"repeat": 3}}).running()
    running = status(wanted, observed(pod(0).running(), pod(1).running()))
    assert running.profile is None
    ended = status(wanted, observed(pod(0).succeeded(captures=captures, **said), pod(1).succeeded()))
    assert ended.profile is not None
    last = ended.profile.captures[-1]
    assert (last.id, last.phase, last.reason) == shown
    assert len(ended.profile.captures) == 1 + len(captures)


@pytest.mark.parametrize("profiling", [{"mode": "Off"}, {"mode": "Scheduled", "tools": ["System"]}])
def test_a_job_that_wants_no_capture_of_its_framework_misses_none(profiling: dict[str, Any]) -> None:
    wanted = SCHEDULED.with_spec(profiling=profiling).running()
    assert status(wanted, observed(pod(0).succeeded(), pod(1).succeeded())).profile is None


def test_the_status_goes_over_the_wire_and_back() -> None:
    seen = observed(pod(0).failed(progress={"step": 3, "metrics": {"loss": 1.5}}), pod(1).failed())
    found = status(TWO.running(), seen)
    assert JobStatus.model_validate(json.loads(json.dumps(found.to_wire()))) == found
