"""Where a job's time went: each second in one part, written when the part changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, JobBuilder, decide, job, observed, pod, refusal, stamp

from ftjob.cli.words import time_line
from ftjob.control.observability.metrics import Metrics
from ftjob.local.ending import Ending, ended_by
from ftjob.models.status import Part, Phase, Timeline
from ftjob.models.times import unix
from ftjob.plan.observed.state import Observed, RefusalKind
from ftjob_protocol.leader_state import LeaderState

RETRIES = {"limit": 3, "backoffSeconds": 0, "inPlace": False}


def seen_from(wanted: JobBuilder, seen: Observed, after: float) -> JobBuilder:
    """Look at a job so many seconds after its creation."""
    now = NOW + after
    return wanted.after(decide(wanted, seen, now=now), seen, now=now)


def steps(
    step: int, first: float, last: float, *, attempt: int = 0, pace: float = 1.0, **more: Any
) -> LeaderState:
    progress = {
        "step": step,
        "firstNs": int((NOW + first) * 1e9),
        "timeNs": int((NOW + last) * 1e9),
        "stepSeconds": pace,
    }
    return LeaderState(attempt, "Running", progress, **more)


def parts(wanted: JobBuilder) -> dict[str, int]:
    found = wanted.status.timeline
    assert found is not None
    return {part.value: found.seconds(part) for part in Part if found.seconds(part)}


def waiting(wanted: JobBuilder) -> JobBuilder:
    return seen_from(wanted, observed(refused=refusal(RefusalKind.FORBIDDEN)), 0)


def running(*, restarts: bool = False) -> JobBuilder:
    """Return a job that waited for 10 s, started in 20 s, made its first step after 30 more."""
    wanted = waiting(job().with_spec(restart=RETRIES) if restarts else job())
    wanted = seen_from(wanted, observed(), 10)
    up = pod(0).running()
    wanted = seen_from(wanted, observed(up, leader=LeaderState(0, "Running", None)), 30)
    return seen_from(wanted, observed(up, leader=steps(3, first=60, last=62)), 63)


def test_the_parts_of_a_job_that_succeeds_add_up_to_its_life() -> None:
    wanted = running()
    assert parts(wanted) == {"queued": 10, "starting": 20, "compiling": 30}
    assert wanted.status.timeline == Timeline(
        part=Part.STEPPING, since=stamp(NOW + 60), queued=10, starting=20, compiling=30
    )
    said = {"step": 100, "firstNs": int((NOW + 60) * 1e9), "timeNs": int((NOW + 160) * 1e9)}
    ended = seen_from(wanted, observed(pod(0).succeeded(progress=said)), 167)
    assert parts(ended) == {"queued": 10, "starting": 20, "compiling": 30, "stepping": 100, "idle": 7}
    assert ended.status.timeline is not None
    assert (ended.status.timeline.part, ended.status.timeline.since) == (None, stamp(NOW + 167))
    assert sum(parts(ended).values()) == 167


def test_while_the_part_lasts_nothing_is_written_and_a_restarted_operator_goes_on() -> None:
    wanted = running()
    up = pod(0).running()
    for after, leader in ((70, steps(9, first=60, last=69)), (80, None), (90, steps(28, first=60, last=89))):
        assert seen_from(wanted, observed(up, leader=leader), after).status.timeline == wanted.status.timeline


def test_a_short_job_of_which_only_the_end_is_seen_is_shared_out_all_the_same() -> None:
    wanted = seen_from(seen_from(job(), observed(), 0), observed(pod(0)), 1)
    said = {"step": 9, "firstNs": int((NOW + 6) * 1e9), "timeNs": int((NOW + 9) * 1e9)}
    ended = seen_from(wanted, observed(pod(0).succeeded(progress=said)), 11)
    assert parts(ended) == {"starting": 6, "stepping": 3, "idle": 2}


def test_a_job_whose_steps_nobody_saw_has_not_been_compiling() -> None:
    wanted = seen_from(job(), observed(), 0)
    wanted = seen_from(wanted, observed(pod(0).running(), leader=LeaderState(0, "Running", None)), 5)
    assert parts(seen_from(wanted, observed(pod(0).succeeded()), 65)) == {"starting": 5, "uncounted": 60}


def failed(wanted: JobBuilder, *, at: float, step: int, last: float) -> JobBuilder:
    said = {
        "step": step,
        "firstNs": int((NOW + 60) * 1e9),
        "timeNs": int((NOW + last) * 1e9),
        "stepSeconds": 1.0,
    }
    return seen_from(wanted, observed(pod(0).failed(137, seen=NOW + at, progress=said)), at)


def again(wanted: JobBuilder, after: float) -> JobBuilder:
    """Start the second attempt."""
    wanted = seen_from(wanted, observed(), after)
    leader = LeaderState(1, "Running", None)
    return seen_from(wanted, observed(pod(0, attempt=1).running(), leader=leader), after + 5)


def test_a_restart_costs_the_time_from_the_last_step_to_the_first_that_is_new() -> None:
    wanted = failed(running(restarts=True), at=130, step=60, last=120)
    assert wanted.status.phase is Phase.RESTARTING
    assert parts(wanted)["stepping"] == 60
    wanted = again(wanted, 145)
    up = pod(0, attempt=1).running()
    # A checkpoint at step 50: steps 51 to 60 are done again.
    wanted = seen_from(wanted, observed(up, leader=steps(55, first=160, last=164, attempt=1)), 165)
    assert "lost" not in parts(wanted), "it is still going on"
    wanted = seen_from(wanted, observed(up, leader=steps(61, first=160, last=170, attempt=1)), 171)
    assert parts(wanted) == {"queued": 10, "starting": 20, "compiling": 30, "stepping": 60, "lost": 50}
    said = {"step": 90, "firstNs": int((NOW + 160) * 1e9), "timeNs": int((NOW + 200) * 1e9)}
    ended = seen_from(wanted, observed(pod(0, attempt=1).succeeded(progress=said)), 201)
    assert parts(ended) | {"lost": 50} == {
        "queued": 10, "starting": 20, "compiling": 30, "stepping": 90, "lost": 50, "idle": 1,
    }  # fmt: skip


def test_ranks_that_count_from_one_again_do_not_say_what_is_done_again() -> None:
    wanted = again(failed(running(restarts=True), at=130, step=60, last=120), 145)
    up = pod(0, attempt=1).running()
    wanted = seen_from(wanted, observed(up, leader=steps(2, first=160, last=161, attempt=1)), 162)
    assert "lost" not in parts(wanted), "too early to tell"
    wanted = seen_from(wanted, observed(up, leader=steps(6, first=160, last=165, attempt=1)), 166)
    assert parts(wanted)["lost"] == 40


def test_what_the_last_attempt_said_is_not_taken_for_steps_of_the_next() -> None:
    wanted = failed(running(restarts=True), at=130, step=60, last=120)
    stale = steps(60, first=60, last=120)
    for after in (131, 140):
        wanted = seen_from(wanted, observed(pod(0).failed(137, seen=NOW + 130), leader=stale), after)
    assert wanted.status.timeline is not None
    assert wanted.status.timeline.part is Part.LOST


def test_a_suspension_is_counted_apart() -> None:
    wanted = running().edited(suspend=True)
    wanted = seen_from(wanted, observed(pod(0).running(), leader=steps(40, first=60, last=100)), 101)
    wanted = seen_from(wanted.edited(suspend=False), observed(), 201)
    found = parts(wanted)
    assert (found["stepping"], found["suspended"]) == (40, 101)


def test_what_the_ranks_clocks_say_shares_out_the_steps() -> None:
    wanted = running()
    shares = {"input": 0.25, "blocked": 0.1, "pauses": 0.2}
    leader = steps(100, first=60, last=160, shares=shares)
    ended = seen_from(wanted, observed(pod(0).succeeded(), leader=leader), 160)
    assert parts(ended) == {"queued": 10, "starting": 20, "compiling": 30, "stepping": 80, "pauses": 20}
    found = ended.status.timeline
    assert found is not None
    assert (found.input, found.blocked) == (25, 10)
    assert time_line(found) == (
        "queued 10 s, starting 20 s, compiling 30 s, stepping 1 m 20 s (25 s for data, 10 s for other "
        "ranks), pauses 20 s"
    )


def test_shares_are_a_strangers_word() -> None:
    told = LeaderState.read(
        {"attempt": 0, "state": "Running", "shares": {"input": 7, "blocked": "x", "pauses": 0.5, "x": 1}}
    )
    assert told.shares == {"pauses": 0.5}
    assert LeaderState.read({"attempt": 0, "state": "Running", "shares": [1]}).shares == {}
    assert LeaderState.read(told.as_json()).shares == told.shares


def test_a_run_that_is_interrupted_has_a_whole_timeline_too() -> None:
    wanted = running()
    up = observed(pod(0).running(), leader=steps(28, first=60, last=88))
    wanted = seen_from(wanted, up, 89)
    ended = ended_by(wanted.status, Ending("Interrupted", "words"), NOW + 91)
    assert ended.timeline is not None
    assert ended.timeline.part is None
    assert sum(ended.timeline.seconds(part) for part in Part) == 91
    assert ended.timeline.idle == 3


def test_a_job_that_an_earlier_version_started_has_none() -> None:
    ended = seen_from(job().running(), observed(pod(0).succeeded()), 5)
    assert ended.status.timeline is None


def test_a_refused_job_has_only_waited() -> None:
    found = seen_from(job().with_trainer(command=None), observed(), 0)
    assert found.status.phase is Phase.FAILED
    assert parts(found) == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("wait", "start", "run", "step", "fail", "suspend", "resume", "nothing")),
            st.integers(0, 100),
            st.integers(-200, 400),
            st.integers(0, 1000),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_whatever_the_ranks_say_the_parts_add_up_and_never_shrink(
    life: list[tuple[str, int, int, int]], succeeds: bool
) -> None:
    wanted, now = (
        seen_from(job().with_spec(restart=RETRIES), observed(refused=refusal(RefusalKind.FORBIDDEN)), 0),
        0,
    )
    for what, passed, when, step in life:
        now += passed
        attempt = wanted.status.pod_attempt
        up = pod(0, attempt=attempt).running()
        leader = steps(step, first=now + when, last=now + when + step, attempt=attempt, pace=0.5)
        seen = {
            "wait": observed(refused=refusal(RefusalKind.FORBIDDEN)),
            "start": observed(pod(0, attempt=attempt)),
            "run": observed(up, leader=LeaderState(attempt, "Running", None)),
            "step": observed(up, leader=leader),
            "fail": observed(pod(0, attempt=attempt).failed(137, seen=NOW + now), leader=leader),
        }.get(what, observed(up))
        if what in {"suspend", "resume"}:
            wanted = wanted.edited(suspend=what == "suspend")
        old = wanted.status.timeline
        wanted = seen_from(wanted, seen, now)
        new = wanted.status.timeline
        assert old is not None
        assert new is not None
        assert all(new.seconds(part) >= old.seconds(part) for part in Part)
        assert sum(new.seconds(part) for part in Part) == unix(new.since) - NOW
        assert new.part is not None or unix(new.since) == unix(wanted.status.completion_time or "")


def test_the_metric_counts_each_second_of_all_jobs_once() -> None:
    metrics = Metrics()
    before = running()
    said = {"step": 100, "firstNs": int((NOW + 60) * 1e9), "timeNs": int((NOW + 160) * 1e9)}
    after = seen_from(before, observed(pod(0).succeeded(progress=said)), 167)
    metrics.status_written(job().read(), before.status, NOW)
    for _ in range(2):
        metrics.status_written(before.read(), after.status, NOW)
        before = after
    text = metrics.text().decode()
    for part, seconds in parts(after).items():
        assert f'ftjob_job_seconds_total{{part="{part}"}} {float(seconds)}' in text
    assert 'ftjob_job_seconds_total{part="lost"} 0.0' in text
