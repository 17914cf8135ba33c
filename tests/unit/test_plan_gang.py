"""Gangs: which scheduler gets a PodGroup, when it comes and goes, and what becomes of its words."""

from dataclasses import replace
from typing import Any

import pytest
from support.builders import NOW, JobBuilder, created, decide, deleted, job, manifests, observed, pod

from ftjob.models.spec import GangMode
from ftjob.models.status import ConditionType, Phase
from ftjob.plan.gangs.arrange import read_group
from ftjob.plan.observed.state import GroupState
from ftjob.plan.plan import Plan, Step

BETA, ALPHA3, ALPHA2 = (
    (f"scheduling.k8s.io/{version}", "PodGroup") for version in ("v1beta1", "v1alpha3", "v1alpha2")
)
GROUP = GroupState(BETA[0], "digits-0", "uid-of-group")
WORDS = "Unschedulable: minCount (2) cannot be satisfied: 1 scheduled"


def gang(mode: str) -> JobBuilder:
    return job().workers(2).with_spec(scheduling={"gang": mode, "timeoutSeconds": 600})


def groups(decision: Plan) -> list[dict[str, Any]]:
    return manifests(decision, "PodGroup")


def members(decision: Plan) -> list[str | None]:
    """Return the group of each new pod."""
    pods = manifests(decision, "Pod")
    return [m["spec"].get("schedulingGroup", {}).get("podGroupName") for m in pods]


@pytest.mark.parametrize(
    ("served", "version"),
    [
        ((BETA, ALPHA3), BETA[0]),
        ((ALPHA3,), ALPHA3[0]),
        ((ALPHA2,), ALPHA2[0]),
    ],
)
@pytest.mark.parametrize("mode", ["Auto", "Native"])
def test_the_best_version_that_is_served_is_used(mode: str, served: Any, version: str) -> None:
    decision = decide(gang(mode), observed(served=served))
    (group,) = groups(decision)
    assert group["apiVersion"] == version
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 2}}
    assert members(decision) == ["digits-0", "digits-0"]
    assert manifests(decision)[0] is group, "it comes first"


@pytest.mark.parametrize("served", [(), (("scheduling.k8s.io/v1alpha1", "Workload"),)])
def test_auto_goes_without_a_gang_where_none_is_served(served: Any) -> None:
    decision = decide(gang("Auto"), observed(served=served))
    assert decision.step is Step.START
    assert groups(decision) == []
    assert members(decision) == [None, None]


def test_native_where_it_is_not_served_is_refused_with_the_remedy() -> None:
    decision = decide(gang("Native"), observed())
    assert (decision.step, decision.reason) == (Step.REFUSE, "InvalidSpec")
    assert "spec.scheduling.gang: this cluster does not serve" in decision.message
    assert "set scheduling.gang to Auto or Off" in decision.message


def test_a_job_that_has_started_goes_on_though_its_gang_is_not_served_any_more() -> None:
    wanted = gang("Native").started().with_status(gang=GangMode.NATIVE)
    assert decide(wanted, observed(pod(0), pod(1))).step is Step.CONTINUE


def test_off_means_off() -> None:
    assert groups(decide(gang("Off"), observed(served=(BETA,)))) == []


def test_one_pod_alone_is_no_gang() -> None:
    assert groups(decide(job(), observed(served=(BETA,)))) == []


def test_pods_for_another_scheduler_are_left_to_it() -> None:
    template = job().spec["template"]
    other = {"spec": {**template["spec"], "schedulerName": "team"}}
    assert groups(decide(gang("Auto").template(other), observed(served=(BETA,)))) == []
    assert len(groups(decide(gang("Native").template(other), observed(served=(BETA,))))) == 1


def test_all_roles_are_one_gang() -> None:
    wanted = job().strategy("ParameterServer").workers(2).roles(ps=2, evaluator=1)
    (group,) = groups(decide(wanted, observed(served=(BETA,))))
    assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 6}}


def test_an_elastic_gang_is_its_least_number_of_workers() -> None:
    wanted = job().strategy("Torchrun").workers(4).with_spec(elastic={"minWorkers": 2, "maxWorkers": 4})
    (group,) = groups(decide(wanted, observed(served=(BETA,))))
    assert group["spec"] == {"schedulingPolicy": {"gang": {"minCount": 2}}}


def test_what_was_chosen_at_the_start_holds_for_the_attempt() -> None:
    """Else the pods of one attempt would wait for each other in two ways."""
    started = gang("Auto").started()
    without = decide(started, observed(pod(0), served=(BETA,)))
    assert (without.status.gang, groups(without), members(without)) == (None, [], [None])
    recorded = started.with_status(gang=GangMode.NATIVE)
    with_it = decide(recorded, observed(pod(0), served=(BETA,), groups=(GROUP,)))
    assert (with_it.status.gang, groups(with_it), members(with_it)) == (GangMode.NATIVE, [], ["digits-0"])


def test_the_choice_is_written_down_before_it_has_an_effect() -> None:
    wanted, seen = gang("Auto"), observed(served=(BETA,))
    decision = decide(wanted, seen)
    assert wanted.after(decision, seen).status.gang is GangMode.NATIVE


def test_a_group_that_was_taken_away_comes_back_while_its_pods_wait() -> None:
    waits = gang("Auto").started().with_status(gang=GangMode.NATIVE)
    assert len(groups(decide(waits, observed(pod(0), pod(1), served=(BETA,))))) == 1
    runs = waits.running()
    assert groups(decide(runs, observed(pod(0).running(), pod(1).running(), served=(BETA,)))) == []


def test_the_next_attempt_has_a_group_of_its_own() -> None:
    again = gang("Auto").started().with_status(gang=GangMode.NATIVE, attempt=1, pod_attempt=1)
    again = again.with_status(phase=Phase.RESTARTING)
    decision = decide(again, observed(served=(BETA,), groups=(GROUP,)))
    assert [group["metadata"]["name"] for group in groups(decision)] == ["digits-1"]
    assert [ref.uid for ref in decision.changes.remove] == [GROUP.uid]


@pytest.mark.parametrize(
    "wanted",
    [
        gang("Auto").running().edited(suspend=True),
        gang("Auto").started().with_status(phase=Phase.SUCCEEDED),
        gang("Auto").started().with_status(phase=Phase.RESTARTING, next_restart_time="2099-01-01T00:00:00Z"),
    ],
    ids=["suspended", "finished", "backing off"],
)
def test_the_group_goes_with_its_attempt(wanted: JobBuilder) -> None:
    decision = decide(
        wanted, observed(served=(BETA,), groups=(GROUP, replace(GROUP, uid="b", deleting=True)))
    )
    assert [(ref.kind, ref.uid) for ref in decision.changes.remove] == [("PodGroup", GROUP.uid)]


def test_the_group_stays_while_ranks_start_again_in_place() -> None:
    wanted = gang("Auto").running().with_status(gang=GangMode.NATIVE)
    again = wanted.with_status(attempt=1, phase=Phase.RESTARTING, running_time=None)
    seen = observed(pod(0).running(), pod(1).running(), served=(BETA,), groups=(GROUP,))
    decision = decide(again, seen)
    assert (decision.status.gang, decision.changes.remove, groups(decision)) == (GangMode.NATIVE, (), [])


def test_why_a_gang_is_not_placed_is_said_in_the_scheduler_s_words() -> None:
    wanted = gang("Auto").started().with_status(gang=GangMode.NATIVE)
    short = pod(1).waiting("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu")
    seen = observed(pod(0), short, served=(BETA,), groups=(replace(GROUP, waiting=WORDS),))
    status = wanted.after(decide(wanted, seen), seen).status
    assert status.phase is Phase.STARTING
    (running,) = [c for c in status.conditions if c.type is ConditionType.RUNNING]
    assert (running.status, running.reason) == ("False", "Unschedulable")
    assert running.message.startswith(
        "gang digits-0: minCount (2) cannot be satisfied: 1 scheduled; "
        "pod digits-worker-0-1: 0/1 nodes are available: 1 Insufficient cpu; On 1 of the nodes too little cpu"
    )


def test_the_same_words_are_said_once() -> None:
    wanted = gang("Auto").started().with_status(gang=GangMode.NATIVE)
    seen = observed(pod(0).waiting(WORDS), served=(BETA,), groups=(replace(GROUP, waiting=WORDS),))
    status = wanted.after(decide(wanted, seen), seen).status
    (running,) = [c for c in status.conditions if c.type is ConditionType.RUNNING]
    assert running.message == "gang digits-0: minCount (2) cannot be satisfied: 1 scheduled"


def test_a_gang_that_is_not_placed_in_time_leaves_nothing() -> None:
    wanted = gang("Auto").started(NOW - 601).with_status(gang=GangMode.NATIVE)
    waiting = replace(GROUP, waiting=WORDS)
    decision = decide(wanted, observed(pod(0), pod(1), served=(BETA,), groups=(waiting,)))
    assert (decision.step, decision.reason) == (Step.FAIL, "StartTimeout")
    assert "minCount (2) cannot be satisfied" in decision.message
    assert deleted(decision) == ["digits-worker-0-0", "digits-worker-0-1"]
    assert [ref.name for ref in decision.changes.remove] == ["digits-0"]
    assert created(decision) == []


VOLCANO = ("scheduling.volcano.sh/v1beta1", "PodGroup")
COSCHEDULING = ("scheduling.x-k8s.io/v1alpha1", "PodGroup")


@pytest.mark.parametrize(("mode", "kind"), [("Volcano", VOLCANO), ("Coscheduling", COSCHEDULING)])
def test_another_gang_scheduler_is_used_where_it_is_there_and_asked_for(
    mode: str, kind: tuple[str, str]
) -> None:
    (group,) = groups(decide(gang(mode), observed(served=(kind, BETA))))
    assert (group["apiVersion"], group["spec"]["minMember"]) == (kind[0], 2)
    refused = decide(gang(mode), observed(served=(BETA,)))
    assert (refused.step, refused.reason) == (Step.REFUSE, "InvalidSpec")
    assert "install" in refused.message
    assert groups(decide(gang("Auto"), observed(served=(kind,)))) == [], "Auto is Kubernetes' own or none"


def test_a_scheduler_in_the_template_is_not_overruled_by_volcano() -> None:
    template = job().spec["template"]
    other = gang("Volcano").template({"spec": {**template["spec"], "schedulerName": "my-volcano"}})
    pods = manifests(decide(other, observed(served=(VOLCANO,))), "Pod")
    assert {p["spec"]["schedulerName"] for p in pods} == {"my-volcano"}


def test_a_group_of_the_same_name_for_another_scheduler_goes() -> None:
    """Its mode may be edited until the job has started."""
    decision = decide(gang("Volcano"), observed(served=(VOLCANO, BETA), groups=(GROUP,)))
    assert [ref.api_version for ref in decision.changes.remove] == [BETA[0]]
    assert len(groups(decision)) == 1


def test_an_elastic_gang_of_volcano_asks_for_what_its_least_workers_need() -> None:
    wanted = job().strategy("Torchrun").workers(3).limits(cpu=2)
    wanted = wanted.with_spec(elastic={"minWorkers": 2, "maxWorkers": 4}, scheduling={"gang": "Volcano"})
    (group,) = groups(decide(wanted, observed(served=(VOLCANO,))))
    assert group["spec"]["minMember"] == 2
    assert group["spec"]["minResources"]["cpu"] == "4"


def test_volcano_s_words_are_read() -> None:
    refused = {
        "type": "Unschedulable",
        "status": "True",
        "reason": "NotEnoughResources",
        "message": "1/2 tasks in gang unschedulable: pod group is not ready",
        "lastTransitionTime": "2026-01-01T00:00:02Z",
    }
    placed = {"type": "Scheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}
    assert read_group(raw(VOLCANO[0], placed, refused)).waiting == f"Unschedulable: {refused['message']}"
    later = {**placed, "lastTransitionTime": "2026-01-01T00:00:03Z"}
    assert read_group(raw(VOLCANO[0], refused, later)).waiting is None
    queued = raw(VOLCANO[0]) | {"spec": {"queue": "team-a"}, "status": {"phase": "Pending"}}
    assert read_group(queued).waiting == "Pending: Volcano's queue team-a has not let it in yet"


def test_the_coscheduling_plugin_speaks_through_the_pods() -> None:
    assert read_group(raw(COSCHEDULING[0])).waiting is None


def raw(version: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "metadata": {"name": "digits-0", "uid": GROUP.uid},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize("kind", ["PodGroupInitiallyScheduled", "PodGroupScheduled"])
def test_kubernetes_own_group_is_read(kind: str) -> None:
    words = {"type": kind, "status": "False", "reason": "Unschedulable", "message": "no room"}
    assert read_group(raw(BETA[0], words)).waiting == "Unschedulable: no room"
    assert read_group(raw(BETA[0], {**words, "status": "True"})).waiting is None
    assert read_group(raw(BETA[0])) == GROUP
