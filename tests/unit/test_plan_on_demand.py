"""Captures by annotation: what the leader is told, and what status says of them until they have ended."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import CONFIG, NOW, job, observed, pod

from ftjob.models.status import Capture, ProfileStatus
from ftjob.plan.decide import decide
from ftjob.plan.plan import Step
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.captures.order import Asked, CaptureOrder, CapturePhase
from ftjob_protocol.leader_state import LeaderState

if TYPE_CHECKING:
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Plan

TWO = job().strategy("Torchrun").workers(2).outputs(size="1Gi").running()
RUNNING = LeaderState(0, "Running", None)


class Jobs:
    """One job whose status is kept from look to look, as an operator does."""

    def __init__(self, annotation: str | None, wanted: Any = TWO) -> None:
        annotations = {} if annotation is None else {"ftjob.dev/capture": annotation}
        self.job = dataclasses.replace(wanted.build(), annotations=annotations)
        self.plan: Plan

    def look(
        self, *asked: Asked, seen: Observed | None = None, now: float = NOW, **leader: Any
    ) -> list[Capture]:
        told = dataclasses.replace(RUNNING, asked=asked, **leader)
        seen = seen or observed(pod(0).running(), pod(1).running(), leader=told)
        self.plan = decide(self.job, seen, now=now, config=CONFIG)
        status = derive_status(self.job, seen, self.plan, now=now)
        self.job = dataclasses.replace(self.job, status=status, raw_status=status.to_wire())
        return status.profile.captures if status.profile is not None else []

    def annotate(self, text: str) -> None:
        self.job = dataclasses.replace(self.job, annotations={"ftjob.dev/capture": text})


def test_the_annotation_becomes_an_order_until_the_leader_says_that_it_knows() -> None:
    jobs = Jobs('{"id": "c7", "steps": 3, "ranks": "1"}')
    assert jobs.look() == [Capture(id="c7", phase="Requested")]
    assert jobs.plan.order == CaptureOrder("c7", steps=3, ranks=(range(1, 2),))
    assert (jobs.plan.step, jobs.plan.next_look) == (Step.CONTINUE, 2.0)
    assert [c.phase for c in jobs.look(Asked("c7", CapturePhase.ARMED, 1, 1))] == ["Armed"]
    assert jobs.plan.order is None


def test_an_id_that_has_ended_is_never_asked_for_again() -> None:
    jobs = Jobs("c7")
    jobs.look()
    ready = [Capture(id="c7", phase="Ready", ranks="2/2", path="captures/c7")]
    assert jobs.look(Asked("c7", CapturePhase.READY, 2, 2)) == ready
    for asked in ((), (Asked("c8", CapturePhase.READY, 2, 2),)):
        assert jobs.look(*asked)[:1] == ready  # a new leader knows nothing of it
        assert jobs.plan.order is None
    jobs.annotate("c9")
    jobs.look()
    assert jobs.plan.order == CaptureOrder("c9")


def test_an_annotation_that_is_replaced_before_the_ranks_run_asks_for_nothing() -> None:
    jobs = Jobs("c7")
    jobs.look(state="Waiting")
    jobs.annotate("c8")
    assert [(c.id, c.phase) for c in jobs.look()] == [("c7", "Refused"), ("c8", "Requested")]
    assert jobs.plan.order == CaptureOrder("c8")


def test_the_leaders_refusal_is_the_captures_end() -> None:
    jobs = Jobs("c8")
    jobs.look()
    why = "capture c7 is under way; ask by another id once it has ended"
    assert jobs.look(Asked("c8", CapturePhase.REFUSED, reason=why))[0].reason == why
    assert jobs.look()[0].phase == "Refused"
    assert jobs.plan.order is None


@pytest.mark.parametrize("state", ["Waiting", "Halting", "Halted", "Failed"])
def test_ranks_that_do_not_run_are_waited_for(state: str) -> None:
    jobs = Jobs("c7")
    assert jobs.look(state=state)[0].phase == "Requested"
    assert not isinstance(jobs.plan.order, CaptureOrder)


def test_the_leader_of_an_earlier_attempt_is_not_listened_to() -> None:
    jobs = Jobs("c7", TWO.with_status(attempt=1))
    assert jobs.look(Asked("c7", CapturePhase.READY, 2, 2), attempt=0)[0].phase == "Requested"
    assert jobs.plan.order is None


def test_what_the_leader_takes_by_itself_is_shown() -> None:
    jobs = Jobs(None)
    assert jobs.look() == []
    taken = Asked("auto-0-0", CapturePhase.CAPTURING, 1, 2, "by itself: straggler: rank 1")
    (shown,) = jobs.look(taken)
    assert (shown.id, shown.phase, shown.ranks, shown.reason, shown.path) == (
        "auto-0-0", "Capturing", "1/2", "by itself: straggler: rank 1", None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted", "shown", "reason"),
    [
        ("../etc", TWO, "invalid-id", "capture.id"),
        ('{"id": 1}', TWO, "invalid-id", "capture.id"),
        ("{", TWO, "invalid-id", "not JSON"),
        ('{"id": "c7", "steps": -1}', TWO, "c7", "capture.steps"),
        ("c7", TWO.with_spec(profiling={"mode": "Off"}), "c7", "set it to OnDemand"),
    ],
)
def test_what_cannot_be_captured_is_refused_and_not_asked_for(
    text: str, wanted: Any, shown: str, reason: str
) -> None:
    jobs = Jobs(text, wanted)
    (found,) = jobs.look()
    assert (found.id, found.phase) == (shown, "Refused")
    assert reason in str(found.reason)
    assert jobs.plan.order is None
    assert json.loads(json.dumps(ProfileStatus(captures=[found]).model_dump()))


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ((), "the job ended before the capture began"),
        ((Asked("c7", CapturePhase.CAPTURING, 1, 2),), "the attempt ended before the capture was whole"),
    ],
)
def test_the_end_of_the_job_ends_what_was_asked_for(before: tuple[Asked, ...], reason: str) -> None:
    jobs = Jobs("c7")
    jobs.look()
    jobs.look(*before)
    (ended,) = jobs.look(seen=observed(pod(0).succeeded(), pod(1).succeeded()))
    assert (ended.phase, ended.reason) == ("Failed", reason)


def test_a_capture_that_its_leader_has_forgotten_has_failed_and_one_that_never_began_goes_on() -> None:
    jobs = Jobs("c7")
    jobs.look()
    assert jobs.look(Asked("c7", CapturePhase.ARMED, 2, 2))[0].phase == "Armed"
    assert jobs.look()[0].reason == "the attempt ended before the capture was whole"
    jobs.annotate("c8")
    assert [c.phase for c in jobs.look()] == ["Failed", "Requested"]
    assert [c.phase for c in jobs.look()] == ["Failed", "Requested"]
    assert jobs.plan.order == CaptureOrder("c8")


def test_the_end_of_the_attempt_ends_its_capture_at_once_with_the_reason_and_no_later_leader_takes_it() -> (
    None
):
    jobs = Jobs("c7", TWO.with_spec(restart={"limit": 1, "backoffSeconds": 0}))
    jobs.look()
    jobs.look(Asked("c7", CapturePhase.CAPTURING, 2, 2))
    told = dataclasses.replace(RUNNING, asked=(Asked("c7", CapturePhase.CAPTURING, 2, 2),))
    (cut,) = jobs.look(seen=observed(pod(0).running(), pod(1).failed(137, seen=NOW - 60), leader=told))
    assert (jobs.plan.step, jobs.job.status.attempt) == (Step.RESTART, 1)
    assert (cut.phase, cut.ranks, cut.path) == ("Failed", "0/2", None)
    why = "the attempt ended before the capture was whole: rank 1 (pod digits-worker-0-1"
    assert str(cut.reason).startswith(why)
    jobs.look(seen=observed(), now=NOW + 60)
    assert jobs.plan.step is Step.START
    anew = [pod(index, attempt=1).running() for index in (0, 1)]
    for leader in (RUNNING, dataclasses.replace(RUNNING, attempt=1)):
        assert jobs.look(seen=observed(*anew, leader=leader)) == [cut]
        assert jobs.plan.order is None
    jobs.annotate("c8")
    jobs.look(seen=observed(*anew, leader=leader))
    assert jobs.plan.order == CaptureOrder("c8")


def test_what_the_leader_says_of_a_capture_at_the_end_of_its_attempt_counts() -> None:
    jobs = Jobs("c7", TWO.with_spec(restart={"limit": 1, "backoffSeconds": 0}))
    jobs.look()
    said = Asked("c7", CapturePhase.PARTIAL, 1, 2, "rank 1: the attempt has ended")
    told = dataclasses.replace(RUNNING, asked=(said,))
    (cut,) = jobs.look(seen=observed(pod(0).running(), pod(1).failed(137, seen=NOW - 60), leader=told))
    assert (jobs.plan.step, cut.phase, cut.reason) == (Step.RESTART, "Partial", said.reason)


def test_a_job_that_is_suspended_ends_its_capture_and_one_that_has_not_begun_waits() -> None:
    jobs = Jobs("c7")
    jobs.look(Asked("auto-0-0", CapturePhase.CAPTURING, 2, 2, "by itself: slow"))
    spec = jobs.job.spec.model_copy(update={"suspend": True})
    jobs.job = dataclasses.replace(jobs.job, spec=spec)
    found = {each.id: (each.phase, each.reason) for each in jobs.look(seen=observed(pod(0).running()))}
    assert found == {
        "c7": ("Requested", None),
        "auto-0-0": (
            "Failed",
            "by itself: slow; the attempt ended before the capture was whole: the job was suspended",
        ),
    }


def test_a_restarted_operator_that_has_not_heard_the_leader_keeps_what_status_says() -> None:
    jobs = Jobs("c7")
    jobs.look()
    before = jobs.look(Asked("c7", CapturePhase.CAPTURING, 2, 2))
    assert jobs.look(seen=observed(pod(0).running(), pod(1).running())) == before


def test_removed_files_are_said_to_be_gone() -> None:
    jobs = Jobs("c7")
    (found,) = jobs.look(Asked("c7", CapturePhase.READY, 2, 2, is_removed=True))
    assert (found.phase, found.path) == ("Ready", None)
    assert "profiling.budget" in str(found.reason)


def test_status_keeps_the_last_captures_and_never_forgets_that_of_the_annotation() -> None:
    jobs = Jobs("mine")
    jobs.look()
    for number in range(30):
        jobs.look(
            Asked("mine", CapturePhase.READY, 2, 2), Asked(f"auto-0-{number}", CapturePhase.READY, 2, 2)
        )
    found = [capture.id for capture in jobs.look()]
    assert found == ["mine", *(f"auto-0-{number}" for number in range(11, 30))]


def test_a_scheduled_job_has_both_kinds() -> None:
    scheduled = job().strategy("Torchrun").workers(2).outputs(size="1Gi")
    jobs = Jobs("c7", scheduled.with_spec(profiling={"mode": "Scheduled"}).running())
    found = jobs.look(Asked("c7", CapturePhase.ARMED, 2, 2), captures={"s0": (range(2),)})
    assert [(c.id, c.phase) for c in found] == [("s0", "Ready"), ("c7", "Armed")]
    assert [(c.id, c.phase) for c in jobs.look()] == [("s0", "Ready"), ("c7", "Failed")]
