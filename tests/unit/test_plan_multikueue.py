"""The management cluster of MultiKueue: a job's Workload, and nothing else of it."""

from dataclasses import replace
from typing import Any

import pytest
from support.builders import CONFIG, NOW, JobBuilder, created, manifests, observed, refusal, stamp
from support.workloads import NAME, SERVED, WAITING, condition, queued, workload

from ftjob.models.names import KUEUE_PREBUILT, MULTIKUEUE
from ftjob.models.status import Phase
from ftjob.plan.kueue.multikueue import PATIENCE_SECONDS, send_away
from ftjob.plan.observed.kueue_admission import PodSet
from ftjob.plan.observed.state import Answer, Lookup, Observed, RefusalKind
from ftjob.plan.plan import Plan


def away(**spec: Any) -> JobBuilder:
    return queued(managedBy=MULTIKUEUE, **spec)


def decide(wanted: JobBuilder, seen: Observed, *, now: float = NOW) -> Plan:
    return send_away(wanted.build(), seen, now=now, config=CONFIG)


def test_only_with_a_queue_it_is_a_matter_of_ours() -> None:
    assert away().build().runs_elsewhere
    assert not away().build().is_ours
    assert not replace(away(), labels={}).build().runs_elsewhere
    assert not queued().build().runs_elsewhere
    assert not queued(managedBy="example.com/other").build().runs_elsewhere


def test_it_gets_a_workload_and_nothing_else() -> None:
    decision = decide(away(), observed(served=SERVED, existing=frozenset()))
    assert [new.kind for new in decision.changes.create] == ["Workload"]
    (made,) = manifests(decision)
    assert made["metadata"]["name"] == NAME
    assert made["spec"]["queueName"] == "team-a"
    assert [(p["name"], p["count"]) for p in made["spec"]["podSets"]] == [("worker", 2)]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"]) == ("FrameworkTrainingJob", True)
    assert decision.reason == ""


def test_its_priority_is_read_first() -> None:
    wanted = away(scheduling={"priorityClassName": "high"})
    lookup = Lookup("scheduling.k8s.io/v1", "PriorityClass", "high")
    first = decide(wanted, observed(served=SERVED))
    assert (first.kueue.look_up, first.changes.create) == ((lookup,), ())
    unreadable = observed(served=SERVED, looked_up={lookup: Answer(error="there is no PriorityClass high")})
    assert decide(wanted, unreadable).reason == "KueueUnreadable"
    (made,) = manifests(decide(wanted, observed(served=SERVED, looked_up={lookup: Answer({"value": 7})})))
    assert made["spec"]["priority"] == 7


def test_an_admitted_job_gets_no_pod_here() -> None:
    for state in (WAITING, workload()):
        decision = decide(away(), observed(served=SERVED, workloads=(state,)))
        assert (
            decision.changes.create,
            decision.kueue.look_up,
            decision.changes.remove,
            decision.kueue.say,
        ) == ((), (), (), None)


@pytest.mark.parametrize(
    ("wanted", "state"),
    [
        (away(suspend=True), workload()),
        (away(), replace(WAITING, queue="team-b")),
        (away(workers=3), WAITING),
        (away(), replace(WAITING, pod_sets=(PodSet("worker", 2, (("cpu", 1000),)),))),
        (away(strategy="MultiWorkerMirrored", processesPerWorker=2), workload()),
    ],
    ids=["suspended", "another queue", "more workers", "other requests", "invalid"],
)
def test_the_workload_goes_when_it_is_not_the_one_that_is_wanted(wanted: JobBuilder, state: Any) -> None:
    decision = decide(wanted, observed(served=SERVED, workloads=(state,)))
    assert [ref.uid for ref in decision.changes.remove] == ["uid-of-workload"]
    assert decision.changes.create == ()


def test_what_runs_already_is_left_alone_by_edits() -> None:
    elastic = away(strategy="Torchrun", workers=3, elastic={"minWorkers": 1, "maxWorkers": 4})
    for wanted in (elastic, replace(away(), labels={"kueue.x-k8s.io/queue-name": "team-b"})):
        decision = decide(wanted, observed(served=SERVED, workloads=(workload(),)))
        assert decision.changes.remove == ()


def test_kueue_is_told_when_its_copy_runs() -> None:
    running = away().running()
    report = decide(running, observed(served=SERVED, workloads=(workload(),))).kueue.say
    assert report is not None
    assert report.status["conditions"][-1]["type"] == "PodsReady"
    again = workload(condition("PodsReady"))
    assert decide(running, observed(served=SERVED, workloads=(again,))).kueue.say is None
    report = decide(away().started(), observed(served=SERVED, workloads=(again,))).kueue.say
    assert report is not None
    assert report.status["conditions"][-1]["status"] == "False"


@pytest.mark.parametrize("phase", [None, Phase.QUEUED, Phase.PENDING])
def test_an_evicted_job_that_does_not_run_gives_its_admission_back(phase: Phase | None) -> None:
    evicted = workload(condition("Evicted", reason="AdmissionCheck", message="words"))
    decision = decide(away().with_status(phase=phase), observed(served=SERVED, workloads=(evicted,)))
    assert decision.kueue.say is not None
    assert decision.kueue.say.status["admission"] is None
    told = {c["type"]: c["status"] for c in decision.kueue.say.status["conditions"]}
    assert told == {"QuotaReserved": "False", "Admitted": "False", "Evicted": "True", "Requeued": "False"}


def test_a_copy_that_runs_is_given_time_to_stop_but_not_for_ever() -> None:
    since = {**condition("Evicted", reason="Preempted"), "lastTransitionTime": stamp(NOW - 20)}
    seen = observed(served=SERVED, workloads=(workload(since),))
    decision = decide(away().running(), seen)
    assert (decision.kueue.say, decision.next_look) == (None, PATIENCE_SECONDS - 20)
    assert decide(away().running(), seen, now=NOW + PATIENCE_SECONDS).kueue.say is not None


@pytest.mark.parametrize(("phase", "reason"), [(Phase.SUCCEEDED, "Succeeded"), (Phase.FAILED, "Failed")])
def test_the_end_of_the_copy_is_the_end(phase: Phase, reason: str) -> None:
    ended = away(ttlSecondsAfterFinished=60).running()
    ended = ended.with_status(phase=phase, completion_time=stamp(NOW - 50))
    decision = decide(ended, observed(served=SERVED, workloads=(workload(),)))
    assert decision.kueue.say is not None
    assert decision.kueue.say.status["conditions"][-1]["reason"] == reason
    assert (decision.next_look, decision.changes.delete_job, decision.changes.create) == (10, False, ())
    finished = observed(served=SERVED, workloads=(workload(condition("Finished")),))
    last = decide(ended, finished, now=NOW + 60)
    assert (last.kueue.say, last.changes.delete_job) == (None, True)


def test_a_refused_workload_is_tried_again_later() -> None:
    refused = refusal(RefusalKind.FORBIDDEN, object_kind="Workload", name=NAME, left=4.0)
    decision = decide(away(), observed(served=SERVED, refused=refused))
    assert (decision.changes.create, decision.next_look, decision.reason) == ((), 4.0, "WorkloadNotCreated")
    assert created(decide(away(), observed(served=SERVED, refused=refused), now=NOW + 5), "Workload")


def test_without_kueue_it_is_said_and_nothing_done() -> None:
    decision = decide(away(), observed())
    assert (decision.changes.create, decision.reason) == ((), "NoKueue")


def test_a_name_of_a_prebuilt_workload_is_not_looked_for_here() -> None:
    """Nobody makes one for the management cluster: such a job is not ours to queue."""
    assert not replace(away(), annotations={KUEUE_PREBUILT: "x"}).build().runs_elsewhere
