"""The worker cluster of MultiKueue: a job whose Workload was there first."""

from dataclasses import replace
from typing import Any

import pytest
from support.builders import NOW, UID, JobBuilder, decide, deleted, manifests, observed, pod, stamp
from support.workloads import READ, SERVED, V2, WAITING, condition, queued, workload

from ftjob.models.names import KUEUE_PREBUILT, MULTIKUEUE_ORIGIN
from ftjob.models.status import ConditionType, Phase
from ftjob.plan.kueue.prebuilt import LOOK_SECONDS
from ftjob.plan.observed.kueue_admission import PodSet, read_pod_set
from ftjob.plan.observed.state import Answer, Lookup
from ftjob.plan.plan import Plan, Step

NAME = "digits-of-elsewhere"
LOOKUP = Lookup(V2, "Workload", NAME, "team")
COPIED = {"ftjob.dev/job": "digits", "ftjob.dev/uid": "uid-in-the-management-cluster"}
MINE = workload(name=NAME)
OTHER_PODS = (PodSet("worker", 3, (("cpu", 1000),)),)


def sent(**spec: Any) -> JobBuilder:
    """Return a job as MultiKueue creates it."""
    return replace(queued(**spec), annotations={KUEUE_PREBUILT: NAME})


def answer(**meta: Any) -> dict[Lookup, Answer]:
    found = {"name": NAME, "uid": "w", "resourceVersion": "7", "labels": COPIED, **meta}
    return {LOOKUP: Answer({"apiVersion": V2, "kind": "Workload", "metadata": found})}


def admitted(decision: Plan, wanted: JobBuilder, seen: Any) -> tuple[Phase | None, str, str]:
    status = wanted.after(decision, seen).status
    (said,) = [c for c in status.conditions if c.type is ConditionType.ADMITTED]
    return status.phase, said.reason, said.message


@pytest.mark.parametrize(
    "wanted",
    [
        replace(queued(), annotations={KUEUE_PREBUILT: NAME}),
        replace(queued(), labels={**queued().labels, KUEUE_PREBUILT: NAME}),
        replace(queued(), labels={KUEUE_PREBUILT: NAME}),
    ],
    ids=["annotation", "label", "label, but no queue"],
)
def test_the_workload_that_the_job_names_is_looked_for_and_none_is_made(wanted: JobBuilder) -> None:
    decision = decide(wanted, observed(served=SERVED))
    assert (decision.step, decision.kueue.look_up, decision.changes.create) == (Step.QUEUE, (LOOKUP,), ())


def test_it_becomes_the_job_s_own_with_the_labels_by_which_it_is_found() -> None:
    mine = {"kind": "Job", "name": "x", "uid": "another", "controller": False}
    decision = decide(sent(), observed(served=SERVED, looked_up=answer(ownerReferences=[mine])))
    assert decision.changes.create == ()
    assert decision.kueue.adopt is not None
    assert (decision.kueue.adopt.found, decision.kueue.adopt.resource_version) == (LOOKUP, "7")
    assert decision.kueue.adopt.metadata["labels"]["ftjob.dev/uid"] == UID
    kept, owner = decision.kueue.adopt.metadata["ownerReferences"]
    assert kept == mine
    assert (owner["uid"], owner["controller"], "blockOwnerDeletion" in owner) == (UID, True, False)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({LOOKUP: Answer(error=f"there is no Workload {NAME}")}, f"there is no Workload {NAME}"),
        (answer(deletionTimestamp="2026-01-01T00:00:00Z"), "is being deleted"),
        (
            answer(ownerReferences=[{"kind": "Job", "name": "x", "uid": "another", "controller": True}]),
            "belongs to Job x (UID another)",
        ),
    ],
    ids=["missing", "going", "another's"],
)
def test_until_it_can_be_had_the_job_waits_and_says_why(found: dict[Lookup, Answer], words: str) -> None:
    wanted, seen = sent(), observed(served=SERVED, looked_up=found)
    decision = decide(wanted, seen)
    assert (decision.kueue.adopt, decision.kueue.look_up, decision.changes.create) == (None, (), ())
    assert decision.next_look == LOOK_SECONDS, "nobody may tell us when it comes"
    phase, reason, message = admitted(decision, wanted, seen)
    assert (phase, reason) == (Phase.QUEUED, "WorkloadMissing")
    assert message.startswith(f"waits for Kueue's Workload {NAME}")
    assert words in message


def test_it_is_obeyed_as_one_of_our_own() -> None:
    wanted = sent()
    waiting = replace(WAITING, name=NAME)
    assert decide(wanted, observed(served=SERVED, workloads=(waiting,))).step is Step.QUEUE
    decision = decide(wanted, observed(served=SERVED, workloads=(MINE,), looked_up=READ))
    assert decision.step is Step.START
    pods = manifests(decision, "Pod")
    assert [p["spec"]["nodeSelector"] for p in pods] == [{"pool": "spot"}] * 2
    running = sent().running()
    told = decide(
        running, observed(pod(0).running(), pod(1).running(), served=SERVED, workloads=(MINE,))
    ).kueue.say
    assert told is not None
    assert told.status["conditions"][-1]["type"] == "PodsReady"
    evicted = replace(workload(condition("Evicted", reason="Preempted")), name=NAME)
    stops = decide(running, observed(pod(0).running(), pod(1).running(), served=SERVED, workloads=(evicted,)))
    assert (stops.step, len(deleted(stops)), stops.kueue.say) == (Step.QUEUE, 2, None)


def test_a_running_job_whose_workload_is_gone_stops() -> None:
    decision = decide(sent().running(), observed(pod(0).running(), pod(1).running(), served=SERVED))
    assert (decision.step, len(deleted(decision)), decision.changes.create) == (Step.QUEUE, 2, ())
    assert decision.kueue.look_up == (LOOKUP,)


def test_one_that_was_made_for_other_pods_is_not_run() -> None:
    wanted = sent()
    seen = observed(served=SERVED, workloads=(replace(MINE, pod_sets=OTHER_PODS),), looked_up=READ)
    decision = decide(wanted, seen)
    assert (decision.step, decision.changes.create, decision.changes.remove) == (Step.QUEUE, (), ())
    words = "was made for other pods: of worker it has 3 x (cpu 1), and the job 2 x (no requests)"
    message = f"Kueue's Workload {NAME} {words}"
    assert admitted(decision, wanted, seen) == (Phase.QUEUED, "OutOfSync", message)
    assert decision.kueue.say is not None
    told = decision.kueue.say.status["conditions"][-1]
    assert (told["type"], told["status"], told["reason"]) == ("Finished", "True", "OutOfSync")
    over = replace(workload(condition("Finished")), name=NAME, pod_sets=OTHER_PODS)
    assert decide(wanted, replace(seen, workloads=(over,))).kueue.say is None


def test_an_elastic_job_that_was_admitted_in_part_is_no_other_job() -> None:
    wanted = sent(strategy="Torchrun", workers=3, elastic={"minWorkers": 1, "maxWorkers": 4})
    found = replace(workload(count=2), name=NAME, pod_sets=(PodSet("worker", 3),))
    seen = observed(served=SERVED, workloads=(found,), looked_up=READ)
    assert decide(wanted, seen).step is Step.START


def test_a_started_job_is_not_compared_again() -> None:
    found = replace(MINE, pod_sets=OTHER_PODS)
    seen = observed(pod(0).running(), pod(1).running(), served=SERVED, workloads=(found,))
    assert decide(sent().running(), seen).step is Step.CONTINUE


@pytest.mark.parametrize(
    ("wanted", "pods", "reason"),
    [
        (sent().running(), (pod(0).succeeded(), pod(1).succeeded()), "Succeeded"),
        (sent().running(), (pod(0).failed(), pod(1).failed()), "Failed"),
        (sent(strategy="MultiWorkerMirrored", processesPerWorker=2), (), "Failed"),
    ],
    ids=["succeeds", "fails", "can't be run"],
)
def test_its_end_is_reported_and_it_is_not_deleted(wanted: JobBuilder, pods: Any, reason: str) -> None:
    decision = decide(wanted, observed(*pods, served=SERVED, workloads=(MINE,)), now=NOW + 10)
    assert decision.changes.remove == ()
    assert decision.kueue.say is not None
    (told,) = [c for c in decision.kueue.say.status["conditions"] if c["type"] == "Finished"]
    assert told["reason"] == reason


def test_a_suspended_job_leaves_it_to_who_made_it() -> None:
    decision = decide(sent().edited(suspend=True), observed(served=SERVED, workloads=(MINE,)))
    assert (decision.step, decision.changes.remove) == (Step.SUSPEND, ())
    assert decide(sent().edited(suspend=True), observed(served=SERVED)).kueue.look_up == ()


def test_a_copy_is_deleted_by_who_made_it() -> None:
    """``ttlSecondsAfterFinished`` counts where the job was submitted; the copy's end has to be seen there."""
    ended = sent(ttlSecondsAfterFinished=0).started()
    ended = ended.with_status(phase=Phase.SUCCEEDED, completion_time=stamp(NOW - 60))
    seen = observed(served=SERVED, workloads=(MINE,))
    assert decide(ended, seen).changes.delete_job
    copied = replace(ended, labels={**ended.labels, MULTIKUEUE_ORIGIN: "management"})
    assert not decide(copied, seen).changes.delete_job


def test_an_ended_job_does_not_wait_for_it() -> None:
    ended = sent().started().with_status(phase=Phase.SUCCEEDED)
    seen = observed(served=SERVED, looked_up={LOOKUP: Answer(error="there is none")})
    decision = decide(ended, seen)
    assert (decision.step, decision.next_look, decision.kueue.look_up) == (Step.REST, None, ())


def test_without_kueue_the_name_is_refused_with_a_remedy() -> None:
    wanted = replace(sent(), labels={})
    decision = decide(wanted, observed())
    assert (decision.step, decision.kueue.look_up) == (Step.REFUSE, ())
    assert f"metadata.labels[{KUEUE_PREBUILT}]" in decision.message


def test_pod_sets_are_compared_by_amount_not_by_spelling() -> None:
    def pods(cpu: Any, agent: str) -> dict[str, Any]:
        containers = [{"name": "trainer", "resources": {"requests": {"cpu": cpu}}}]
        first = {"name": "ftjob-agent", "image": agent, "resources": {"requests": {"cpu": "10"}}}
        spec = {"containers": containers, "initContainers": [first]}
        return {"name": "worker", "count": 2, "template": {"spec": spec}}

    assert read_pod_set(pods("1000m", "a:1")) == read_pod_set(pods(1, "a:2"))
    assert read_pod_set(pods("1001m", "a:1")) != read_pod_set(pods(1, "a:1"))
