"""Kueue: what its Workload says, when pods may be, and what Kueue is told."""

from dataclasses import replace
from typing import Any

import pytest
from support.builders import NOW, JobBuilder, created, decide, deleted, job, manifests, observed, pod, stamp
from support.workloads import FLAVOR, NAME, READ, SERVED, SPOT, V1, V2, WAITING, condition, queued, workload

from ftjob.api.job import Job
from ftjob.models.status import ConditionType, Phase
from ftjob.plan.kueue.queue import as_admitted
from ftjob.plan.observed.kueue_admission import WorkloadState, read_workload
from ftjob.plan.observed.pod import read_pod
from ftjob.plan.observed.state import Answer, Lookup
from ftjob.plan.plan import Plan, Step


def workloads(decision: Plan) -> list[dict[str, Any]]:
    return manifests(decision, "Workload")


def said(wanted: JobBuilder, decision: Plan, seen: Any) -> tuple[Phase | None, str, str]:
    status = wanted.after(decision, seen).status
    (admitted,) = [c for c in status.conditions if c.type is ConditionType.ADMITTED]
    return status.phase, admitted.reason, admitted.message


def test_the_workload_comes_first_and_alone() -> None:
    wanted, seen = queued(), observed(served=SERVED)
    decision = decide(wanted, seen)
    assert decision.step is Step.QUEUE
    (made,) = workloads(decision)
    assert len(decision.changes.create) == 1
    assert made["apiVersion"] == V2
    assert made["spec"]["queueName"] == "team-a"
    (pods,) = made["spec"]["podSets"]
    assert (pods["name"], pods["count"], "minCount" in pods) == ("worker", 2, False)
    assert {c["name"] for c in pods["template"]["spec"]["containers"]} == {"trainer"}
    after = wanted.after(decision, seen).status
    assert (after.phase, after.start_time) == (Phase.QUEUED, None)


def test_each_role_is_a_pod_set() -> None:
    wanted = replace(job().strategy("ParameterServer").workers(3), labels=queued().labels)
    (made,) = workloads(decide(wanted, observed(served=SERVED)))
    assert [(p["name"], p["count"]) for p in made["spec"]["podSets"]] == [
        ("chief", 1),
        ("worker", 3),
        ("ps", 1),
    ]


def test_an_elastic_job_may_be_let_in_in_part() -> None:
    wanted = queued(strategy="Torchrun", elastic={"minWorkers": 1, "maxWorkers": 4})
    (made,) = workloads(decide(wanted, observed(served=SERVED)))
    assert made["spec"]["podSets"][0]["minCount"] == 1
    seen = observed(served=SERVED, workloads=(workload(count=1),), looked_up=READ)
    built = as_admitted(wanted.build(), seen)
    assert isinstance(built, Job)
    assert built.spec.workers == 1
    fixed = as_admitted(queued().build(), seen)
    assert isinstance(fixed, Job)
    assert fixed.spec.workers == 2


@pytest.mark.parametrize(
    ("label", "lookup", "v2", "v1"),
    [
        (
            None,
            Lookup("scheduling.k8s.io/v1", "PriorityClass", "high"),
            {"group": "scheduling.k8s.io", "kind": "PriorityClass", "name": "high"},
            "scheduling.k8s.io/priorityclass",
        ),
        (
            "soon",
            Lookup(V2, "WorkloadPriorityClass", "soon"),
            {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "soon"},
            "kueue.x-k8s.io/workloadpriorityclass",
        ),
    ],
)
def test_the_priority_is_read_first(label: str | None, lookup: Lookup, v2: dict[str, str], v1: str) -> None:
    wanted = queued(scheduling={"priorityClassName": "high"})
    if label:
        wanted = replace(wanted, labels={**wanted.labels, "kueue.x-k8s.io/priority-class": label})
    first = decide(wanted, observed(served=SERVED))
    assert (first.kueue.look_up, first.changes.create) == ((lookup,), ())
    (made,) = workloads(decide(wanted, observed(served=SERVED, looked_up={lookup: Answer({"value": 7})})))
    assert (made["spec"]["priority"], made["spec"]["priorityClassRef"]) == (7, v2)
    older = {replace(lookup, api_version=lookup.api_version.replace(V2, V1)): Answer({"value": 7})}
    (made,) = workloads(decide(wanted, observed(served=SERVED[1:], looked_up=older)))
    assert (made["spec"]["priorityClassName"], made["spec"]["priorityClassSource"]) == (lookup.name, v1)


def test_what_can_t_be_read_is_said() -> None:
    wanted = queued(scheduling={"priorityClassName": "high"})
    lookup = Lookup("scheduling.k8s.io/v1", "PriorityClass", "high")
    seen = observed(served=SERVED, looked_up={lookup: Answer(error="there is no PriorityClass high")})
    decision = decide(wanted, seen)
    assert decision.changes.create == ()
    assert said(wanted, decision, seen) == (Phase.QUEUED, "KueueUnreadable", "there is no PriorityClass high")


def test_a_queued_job_has_no_pod_and_says_what_kueue_says() -> None:
    wanted, seen = queued(), observed(served=SERVED, workloads=(WAITING,))
    decision = decide(wanted, seen)
    assert decision.changes.create == ()
    words = "waits in Kueue's queue team-a: insufficient quota"
    assert said(wanted, decision, seen) == (Phase.QUEUED, "Queued", words)


def test_an_admitted_job_runs_where_its_flavours_are() -> None:
    wanted = queued()
    first = decide(wanted, observed(served=SERVED, workloads=(workload(),)))
    assert (first.step, first.kueue.look_up, created(first)) == (Step.QUEUE, (FLAVOR,), [])
    decision = decide(wanted, observed(served=SERVED, workloads=(workload(),), looked_up=READ))
    assert decision.step is Step.START
    pods = manifests(decision, "Pod")
    assert len(pods) == 2
    for made in pods:
        assert made["spec"]["nodeSelector"] == {"pool": "spot"}
        assert made["spec"]["tolerations"].count(SPOT["spec"]["tolerations"][0]) == 1
        assert made["metadata"]["labels"]["kueue.x-k8s.io/podset"] == "worker"
        assert made["metadata"]["annotations"]["kueue.x-k8s.io/workload"] == NAME


def test_what_admission_checks_add_is_added_and_a_topology_is_left_to_kueue() -> None:
    update = {
        "name": "worker",
        "nodeSelector": {"node": "new"},
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
    }
    state = workload()
    (assignment,) = state.status["admission"]["podSetAssignments"]
    status = {
        **state.status,
        "admission": {"podSetAssignments": [{**assignment, "topologyAssignment": {"levels": []}}]},
        "admissionChecks": [{"name": "provision", "podSetUpdates": [update]}],
    }
    seen = observed(served=SERVED, workloads=(replace(state, status=status),), looked_up=READ)
    made = manifests(decide(queued(), seen), "Pod")[0]
    assert made["spec"]["nodeSelector"] == {"pool": "spot", "node": "new"}
    assert made["metadata"]["labels"]["a"] == "b"
    assert made["metadata"]["annotations"]["c"] == "d"
    assert made["spec"]["schedulingGates"] == [{"name": "kueue.x-k8s.io/topology"}]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (workload(condition("Evicted", reason="Preempted", message="for another")), "Evicted"),
        (workload(active=False), "Deactivated"),
        (WAITING, "Queued"),
        (None, "Queued"),
    ],
    ids=["evicted", "deactivated", "admission taken back", "workload deleted"],
)
def test_a_running_job_that_may_not_run_any_more_stops_without_a_restart(
    state: WorkloadState | None, reason: str
) -> None:
    wanted = queued().running()
    found = (state,) if state is not None else ()
    seen = observed(pod(0).running(), pod(1).running(), served=SERVED, workloads=found)
    decision = decide(wanted, seen)
    assert decision.step is Step.QUEUE
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]
    assert decision.changes.create == (), "the Workload comes back when no pod is left"
    assert decision.kueue.say is None, "the admission is given back when no pod is left"
    status = wanted.after(decision, seen).status
    assert (status.phase, status.attempt, status.pod_attempt) == (Phase.QUEUED, 1, 1)
    assert (status.restarts.failures, status.restarts.disruptions) == (0, 0)
    assert status.active_since is None, "the deadline stands still"
    assert said(wanted, decision, seen)[1] == reason


@pytest.mark.parametrize(("reason", "again"), [("Preempted", "True"), ("PodsReadyTimeout", "False")])
def test_the_admission_is_given_back_when_no_pod_is_left(reason: str, again: str) -> None:
    evicted = workload(condition("Evicted", reason=reason, message="words"), condition("PodsReady"))
    wanted = queued().started().with_status(phase=Phase.QUEUED, attempt=1, pod_attempt=1)
    assert decide(wanted, observed(pod(0).deleting(), served=SERVED, workloads=(evicted,))).kueue.say is None
    lost = pod(0).running().lost()  # may stay for ever
    assert decide(wanted, observed(lost, served=SERVED, workloads=(evicted,))).kueue.say is not None
    report = decide(wanted, observed(served=SERVED, workloads=(evicted,))).kueue.say
    assert report is not None
    assert (report.name, report.resource_version) == (NAME, "7")
    assert report.status["admission"] is None
    told = {c["type"]: c for c in report.status["conditions"]}
    assert {kind: told[kind]["status"] for kind in told} == {
        "QuotaReserved": "False",
        "Admitted": "False",
        "Evicted": "True",
        "Requeued": again,
        "PodsReady": "False",
    }
    assert told["Requeued"]["reason"] == reason


def test_let_in_again_the_next_attempt_starts() -> None:
    wanted = queued().started().with_status(phase=Phase.QUEUED, attempt=1, pod_attempt=1, attempt_time=None)
    decision = decide(wanted, observed(served=SERVED, workloads=(workload(),), looked_up=READ))
    assert decision.step is Step.START
    assert created(decision) == ["digits-worker-1-0", "digits-worker-1-1"]


def test_between_attempts_a_job_stays_admitted_and_its_new_pods_wait_for_what_is_read() -> None:
    wanted = queued().started().with_status(phase=Phase.RESTARTING, attempt=1, pod_attempt=1)
    decision = decide(wanted, observed(served=SERVED, workloads=(workload(),)))
    assert (decision.step, decision.kueue.look_up, created(decision)) == (Step.START, (FLAVOR,), [])
    begun = wanted.after(decision, observed(served=SERVED, workloads=(workload(),)))
    assert len(created(decide(begun, observed(served=SERVED, workloads=(workload(),), looked_up=READ)))) == 2


def test_kueue_is_told_when_all_pods_run_and_when_they_do_not_any_more() -> None:
    wanted = queued().running()
    seen = observed(pod(0).running(), pod(1).running(), served=SERVED, workloads=(workload(),))
    report = decide(wanted, seen).kueue.say
    assert report is not None
    ready = report.status["conditions"][-1]
    assert (ready["type"], ready["status"], ready["lastTransitionTime"]) == ("PodsReady", "True", stamp(NOW))
    known = workload(condition("PodsReady"))
    assert decide(wanted, replace(seen, workloads=(known,))).kueue.say is None
    lost = observed(pod(0).running(), pod(1).failed(), served=SERVED, workloads=(known,))
    told = decide(wanted, lost).kueue.say
    assert told is not None
    assert told.status["conditions"][-1]["status"] == "False"


@pytest.mark.parametrize(
    ("wanted", "pods", "reason"),
    [
        (queued().running(), (pod(0).succeeded(), pod(1).succeeded()), "Succeeded"),
        (queued().running(), (pod(0).failed(), pod(1).failed()), "Failed"),
        (queued().started().with_status(phase=Phase.SUCCEEDED), (), "Succeeded"),
    ],
    ids=["succeeds", "fails", "has succeeded, and the operator was killed"],
)
def test_kueue_is_told_of_the_end(wanted: JobBuilder, pods: Any, reason: str) -> None:
    decision = decide(wanted, observed(*pods, served=SERVED, workloads=(workload(),)), now=NOW + 10)
    assert decision.kueue.say is not None
    (told,) = [c for c in decision.kueue.say.status["conditions"] if c["type"] == "Finished"]
    assert (told["status"], told["reason"]) == ("True", reason)
    finished = workload(condition("Finished"))
    assert (
        decide(wanted, observed(*pods, served=SERVED, workloads=(finished,)), now=NOW + 10).kueue.say is None
    )


def test_a_suspended_job_leaves_the_queue_when_its_pods_are_gone() -> None:
    wanted = queued().running().edited(suspend=True)
    seen = observed(pod(0).running(), pod(1).running(), served=SERVED, workloads=(workload(),))
    assert decide(wanted, seen).changes.remove == ()
    gone = decide(wanted, observed(served=SERVED, workloads=(workload(),)))
    assert [ref.uid for ref in gone.changes.remove] == ["uid-of-workload"]


def test_another_queue_before_admission_is_another_workload() -> None:
    decision = decide(queued(), observed(served=SERVED, workloads=(replace(WAITING, queue="team-b"),)))
    assert [ref.kind for ref in decision.changes.remove] == ["Workload"]


@pytest.mark.parametrize(
    ("wanted", "other"),
    [
        (queued(workers=3), True),
        (queued().limits(cpu="2"), True),
        (queued().env(A="b"), False),
        (queued(), False),
    ],
    ids=["more workers", "more of each", "nothing that counts", "nothing"],
)
def test_a_job_that_is_edited_while_it_waits_asks_for_something_else(
    wanted: JobBuilder, *, other: bool
) -> None:
    decision = decide(wanted, observed(served=SERVED, workloads=(WAITING,)))
    assert bool(decision.changes.remove) is other
    going = observed(served=SERVED, workloads=(replace(WAITING, deleting=True),))
    assert workloads(decide(wanted, going)) == [], "the next one has the same name"
    admitted = observed(pod(0), pod(1), served=SERVED, workloads=(workload(),), looked_up=READ)
    assert decide(wanted.started(), admitted).changes.remove == ()


def test_a_workload_that_is_made_fits_the_job_it_was_made_for() -> None:
    """Else it would be deleted and made again for ever."""
    for wanted in (
        queued().limits(cpu="1500m", memory="1.5Gi"),
        replace(job().strategy("ParameterServer").workers(3), labels=queued().labels),
        queued(strategy="Torchrun", elastic={"minWorkers": 1, "maxWorkers": 4}),
    ):
        (made,) = workloads(decide(wanted, observed(served=SERVED)))
        raw = {**made, "metadata": {**made["metadata"], "uid": "w"}}
        assert decide(wanted, observed(served=SERVED, workloads=(read_workload(raw),))).changes.remove == ()


def test_without_kueue_the_label_is_refused_with_a_remedy() -> None:
    decision = decide(queued(), observed())
    assert (decision.step, decision.reason) == (Step.REFUSE, "InvalidSpec")
    assert "install Kueue" in decision.message


def test_without_the_label_kueue_is_no_matter() -> None:
    assert decide(job().workers(2), observed(served=SERVED)).step is Step.START


def test_a_pod_that_kueue_s_own_webhook_holds_back_says_what_to_do() -> None:
    raw = {
        "metadata": {"name": "digits-worker-0-0", "uid": "p"},
        "spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}], "containers": []},
        "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
    }
    found = read_pod(raw, trainer="trainer", seen=NOW)
    assert found.waiting is not None
    assert found.waiting.startswith("GatedByKueue: ")
    assert "FrameworkTrainingJob.v1alpha1.ftjob.dev" in found.waiting


def test_a_workload_is_read() -> None:
    raw = {
        "apiVersion": V1,
        "metadata": {"name": NAME, "uid": "w", "resourceVersion": "3"},
        "spec": {"active": False, "queueName": "team-a"},
    }
    state = read_workload(raw)
    assert (state.active, state.queue, state.is_admitted) == (False, "team-a", False)
    assert workload().is_admitted
    assert not workload(deleting=True).is_admitted


def test_the_plan_is_the_same_for_the_same_input() -> None:
    seen = observed(served=SERVED, workloads=(workload(),), looked_up=READ)
    assert decide(queued(), seen) == decide(queued(), seen)
