"""What is decided for a job, case by case."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.builders import (
    NOW,
    JobBuilder,
    created,
    decide,
    deleted,
    job,
    observed,
    pod,
    refusal,
)

from ftjob.api.validate import validate
from ftjob.plan.observed.state import Observed, RefusalKind
from ftjob.plan.plan import Step

TWO = job().workers(2)
P0, P1, P2 = (f"digits-worker-0-{i}" for i in range(3))
SERVERS = job().strategy("ParameterServer").workers(2)
V5E = {"library": "JAX", "accelerator": "tpu-v5-lite-podslice", "topology": "2x4", "chipsPerWorker": 4}
TPU = job().strategy("TPU").with_spec(workers=None, tpu=V5E)
CHIEF, PS = "digits-chief-0-0", "digits-ps-0-0"
CHIEF_POD, PS_POD = pod(role="chief"), pod(role="ps")
NOTHING_EXISTS: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Case:
    """One decision; what a case does not say is not created, not deleted and has no reason."""

    name: str
    job: JobBuilder
    seen: Observed
    step: Step
    create: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    reason: str = ""
    next_look: float | None = None


CASES = [
    Case("the first start creates every pod, in order", TWO, observed(), Step.START, (P0, P1)),
    Case("workers left out is one", job().with_spec(workers=None), observed(), Step.START, (P0,)),
    Case("a started job gets what is absent", TWO.started(), observed(pod(0)), Step.CONTINUE, (P1,)),
    Case(
        "a hole in the middle is filled",
        job().workers(3).started(),
        observed(pod(0), pod(2)),
        Step.CONTINUE,
        (P1,),
    ),
    Case("with all pods there is nothing to do", TWO.started(), observed(pod(0), pod(1)), Step.CONTINUE),
    Case(
        "a pod of an older attempt counts for nothing, and goes",
        TWO.started().with_status(pod_attempt=1),
        observed(pod(0), pod(1).failed()),
        Step.CONTINUE,
        delete=(P0, P1),
    ),
    Case(
        "a deleting pod still holds its name",
        job().started(),
        observed(pod(0).running().deleting()),
        Step.CONTINUE,
    ),
    Case(
        "pods of an earlier job of this name come first",
        TWO,
        observed(predecessors=(P0, P1)),
        Step.WAIT,
        reason="PreviousRunTerminating",
        next_look=2.0,
    ),
    Case(
        "a started job minds no earlier job",
        TWO.started(),
        observed(pod(0), pod(1), predecessors=(P1,)),
        Step.CONTINUE,
    ),
    # refusals
    Case(
        "an invalid object ends the job and takes back its pods",
        TWO.started(),
        observed(pod(0), refused=refusal(RefusalKind.INVALID)),
        Step.REFUSE,
        delete=(P0,),
        reason="InvalidSpec",
    ),
    Case(
        "time does not heal an invalid object",
        TWO,
        observed(refused=refusal(RefusalKind.INVALID, left=-1)),
        Step.REFUSE,
        reason="InvalidSpec",
    ),
    Case(
        "a stranger's object of our name ends the job",
        TWO,
        observed(refused=refusal(RefusalKind.CONFLICT)),
        Step.FAIL,
        reason="NameConflict",
    ),
    Case(
        "a stranger's object takes back what was created",
        TWO.started(),
        observed(pod(0).running(), refused=refusal(RefusalKind.CONFLICT)),
        Step.FAIL,
        delete=(P0,),
        reason="NameConflict",
    ),
    Case(
        "a quota takes back half a job until the next try",
        TWO.started(),
        observed(pod(0).running(), refused=refusal(RefusalKind.FORBIDDEN)),
        Step.WAIT,
        delete=(P0,),
        reason="CreationForbidden",
        next_look=4.0,
    ),
    Case(
        "what is on its way out is not deleted again",
        TWO.started(),
        observed(pod(0).deleting(), pod(1).gone(), refused=refusal(RefusalKind.FORBIDDEN)),
        Step.WAIT,
        reason="CreationForbidden",
        next_look=4.0,
    ),
    Case(
        "a name that an earlier job still holds is waited for",
        TWO,
        observed(refused=refusal(RefusalKind.TERMINATING)),
        Step.WAIT,
        reason="PreviousRunTerminating",
        next_look=4.0,
    ),
    Case(
        "after the wait a quota is tried again",
        TWO,
        observed(refused=refusal(RefusalKind.FORBIDDEN, left=0)),
        Step.START,
        (P0, P1),
    ),
    Case(
        "after the wait a held name is tried again",
        TWO,
        observed(refused=refusal(RefusalKind.TERMINATING, left=0)),
        Step.START,
        (P0, P1),
    ),
    Case(
        "the next try waits for the pods that were taken back",
        TWO,
        observed(pod(0).deleting(), refused=refusal(RefusalKind.FORBIDDEN, left=0)),
        Step.WAIT,
        reason="TakingBackPods",
        next_look=2.0,
    ),
    Case(
        "pods of a start that was taken back are deleted after a restart too",
        TWO,
        observed(pod(0), pod(1)),
        Step.WAIT,
        delete=(P0, P1),
        reason="TakingBackPods",
        next_look=2.0,
    ),
    # validation
    Case(
        "a spec that can't run is refused",
        job().with_trainer(command=None),
        observed(),
        Step.REFUSE,
        reason="InvalidSpec",
    ),
    Case(
        "an unreadable spec is refused",
        job().with_spec(strategy="Magic"),
        observed(),
        Step.REFUSE,
        reason="InvalidSpec",
    ),
    Case(
        "identity in env is refused", job().env(WORLD_SIZE="1"), observed(), Step.REFUSE, reason="InvalidSpec"
    ),
    Case("a name over the limit is refused", job("a" * 41), observed(), Step.REFUSE, reason="InvalidSpec"),
    # success
    Case(
        "all workers succeeded", TWO.running(), observed(pod(0).succeeded(), pod(1).succeeded()), Step.SUCCEED
    ),
    Case(
        "one of two is not all", TWO.running(), observed(pod(0).succeeded(), pod(1).running()), Step.CONTINUE
    ),
    Case(
        "Worker0 alone decides, and the rest is cleaned up",
        TWO.running().success("Worker0"),
        observed(pod(0).succeeded(), pod(1).running()),
        Step.SUCCEED,
        delete=(P1,),
    ),
    Case(
        "Worker0 is not worker 1",
        TWO.running().success("Worker0"),
        observed(pod(0).running(), pod(1).succeeded()),
        Step.CONTINUE,
    ),
    Case(
        "Worker0's success counts more than another's failure",
        TWO.running().success("Worker0"),
        observed(pod(0).succeeded(), pod(1).failed()),
        Step.SUCCEED,
    ),
    Case("recorded successes need no pod", TWO.running().recorded("0-1"), observed(), Step.SUCCEED),
    Case(
        "a recorded success survives its pod",
        TWO.running().recorded("0"),
        observed(pod(1).running()),
        Step.CONTINUE,
    ),
    Case(
        "a recorded success that was deleted unseen is no failure",
        TWO.running().recorded("0"),
        observed(pod(0).gone(), pod(1).running()),
        Step.CONTINUE,
    ),
    Case(
        "a success that was deleted is evidence",
        TWO.running(),
        observed(pod(0).succeeded().gone(), pod(1).succeeded()),
        Step.SUCCEED,
    ),
    # parameter servers
    Case("roles are created in rank order", SERVERS, observed(), Step.START, (CHIEF, P0, P1, PS)),
    Case(
        "the chief's success is the job's, and the rest is cleaned up",
        SERVERS.running(),
        observed(CHIEF_POD.succeeded(), pod(0).running(), pod(1).running(), PS_POD.running()),
        Step.SUCCEED,
        delete=(P0, P1, PS),
    ),
    Case(
        "that the others were stopped then is no failure",
        SERVERS.running(),
        observed(CHIEF_POD.running(), pod(0).released(), pod(1).running(), PS_POD.released()),
        Step.CONTINUE,
    ),
    Case(
        "workers and evaluators that end well decide nothing",
        SERVERS.roles(evaluator=1).running(),
        observed(
            CHIEF_POD.running(),
            pod(0).succeeded(),
            pod(1).succeeded(),
            PS_POD.running(),
            pod(0, role="evaluator").succeeded(),
        ),
        Step.CONTINUE,
    ),
    Case(
        "without a chief worker 0 decides",
        SERVERS.roles(chief=0).running(),
        observed(pod(0).succeeded(), pod(1).running(), PS_POD.running()),
        Step.SUCCEED,
        delete=(P1, PS),
    ),
    Case(
        "a success of another role with the same index is not the chief's",
        SERVERS.running(),
        observed(CHIEF_POD.running(), pod(0).running(), pod(1).running(), PS_POD.succeeded()),
        Step.CONTINUE,
    ),
    Case(
        "a parameter server that fails fails the job",
        SERVERS.running(),
        observed(CHIEF_POD.running(), pod(0).running(), pod(1).running(), PS_POD.failed(seen=NOW - 2)),
        Step.FAIL,
        delete=(CHIEF, P0, P1),
        reason="Exception",
    ),
    # failure
    Case("the only worker failed", job().running(), observed(pod(0).failed()), Step.FAIL, reason="Exception"),
    Case(
        "the others get two seconds to say what happened",
        TWO.running(),
        observed(pod(0).failed(seen=NOW - 0.5), pod(1).running()),
        Step.CONTINUE,
        next_look=1.5,
    ),
    Case(
        "after two seconds the job fails and the rest is cleaned up",
        TWO.running(),
        observed(pod(0).failed(seen=NOW - 2), pod(1).running()),
        Step.FAIL,
        delete=(P1,),
        reason="Exception",
    ),
    Case(
        "when all have ended there is nothing to wait for",
        TWO.running(),
        observed(pod(0).failed(seen=NOW), pod(1).succeeded()),
        Step.FAIL,
        reason="Exception",
    ),
    Case(
        "nothing new is created while evidence is awaited",
        job().workers(3).started(),
        observed(pod(0).failed(), pod(1).running()),
        Step.CONTINUE,
        next_look=2.0,
    ),
    Case(
        "a pod that was deleted under its ranks ends the attempt at once",
        TWO.running(),
        observed(pod(0).running(), pod(1).running().gone()),
        Step.RESTART,
        next_look=0.0,
        delete=(P0,),
        reason="PodDeleted",
    ),
    Case(
        "the reason of a disruption is kept",
        TWO.running(),
        observed(pod(0).running(), pod(1).disrupted().gone()),
        Step.RESTART,
        next_look=0.0,
        delete=(P0,),
        reason="EvictionByEvictionAPI",
    ),
    Case(
        "a pod that vanished unseen is a disruption",
        TWO.running(),
        observed(pod(0).running()),
        Step.RESTART,
        next_look=0.0,
        delete=(P0,),
        reason="PodVanished",
    ),
    Case(
        "before all ran, a vanished pod is created again",
        TWO.started(),
        observed(pod(0).running()),
        Step.CONTINUE,
        (P1,),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decision(case: Case) -> None:
    decision = decide(case.job, case.seen)
    assert decision.step is case.step
    assert tuple(created(decision)) == case.create
    assert tuple(deleted(decision)) == case.delete
    assert decision.reason == case.reason
    assert decision.next_look == case.next_look


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_input_gives_the_same_plan(case: Case) -> None:
    assert decide(case.job, case.seen) == decide(case.job, case.seen)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_deletes_carry_the_uid_of_the_pod_that_was_seen(case: Case) -> None:
    uids = {pod.name: pod.uid for pod in case.seen.pods}
    assert all(ref.uid == uids[ref.name] for ref in decide(case.job, case.seen).changes.delete)


def test_a_pod_whose_sidecar_runs_on_goes_with_the_job() -> None:
    done = observed(pod(0).succeeded(), pod(1).succeeded())
    first, second = done.pods
    beside = replace(done, pods=(replace(first, has_sidecars=True), second))
    decision = decide(TWO.running(), beside)
    assert decision.step is Step.SUCCEED
    assert [ref.name for ref in decision.changes.delete] == ["digits-worker-0-0"]


@pytest.mark.parametrize(
    ("policy", "kept_running", "kept_ended"),
    [("Running", False, True), ("All", False, False), ("None", True, True)],
)
@pytest.mark.parametrize("ended", [pod(0).succeeded(), pod(0).failed(seen=NOW - 9)])
def test_clean_pods_says_what_stays(policy: str, kept_running: bool, kept_ended: bool, ended: Any) -> None:
    decision = decide(TWO.running().success("Worker0").clean_pods(policy), observed(ended, pod(1).running()))
    assert decision.step in {Step.SUCCEED, Step.FAIL}
    assert (P0 not in deleted(decision)) is kept_ended
    assert (P1 not in deleted(decision)) is kept_running


def test_a_finished_job_rests_and_goes_on_cleaning() -> None:
    seen = observed(pod(0).failed(seen=NOW - 9), pod(1).running())
    failed = TWO.running().after(decide(TWO.running(), seen), seen)
    again = decide(failed, seen)
    assert (again.step, deleted(again), again.changes.create) == (Step.REST, [P1], ())
    edited = decide(failed.edited(workers=3), seen)
    assert (edited.step, edited.changes.create) == (Step.REST, ())


def test_an_edited_invalid_job_is_planned_anew() -> None:
    bad = job().with_trainer(command=None)
    refused = bad.after(decide(bad, observed()), observed())
    assert decide(refused, observed()).step is Step.REST
    assert decide(refused.edited(workers=2), observed()).step is Step.REFUSE
    good = refused.edited(template=job().spec["template"])
    assert (decide(good, observed()).step, created(decide(good, observed()))) == (Step.START, [P0])


def test_a_refusal_names_each_field_and_its_remedy() -> None:
    bad = job().workers(2).processes(2).env(RANK="0")
    problems = validate(bad.read())
    assert problems
    message = decide(bad, observed()).message
    assert all(problem.remedy and str(problem) in message for problem in problems)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (job().strategy("Torchrun"), "MASTER_PORT"),
        (job().strategy("Torchrun"), "PET_NNODES"),
        (job().strategy("JAX"), "JAX_PROCESS_ID"),
        (job().strategy("MultiWorkerMirrored"), "TF_CONFIG"),
        (SERVERS, "TF_CONFIG"),
        (TPU, "TPU_WORKER_ID"),
        (TPU, "MEGASCALE_NUM_SLICES"),
    ],
)
def test_what_the_strategy_sets_is_refused_in_env(wanted: JobBuilder, name: str) -> None:
    decision = decide(wanted.env(**{name: "1"}), observed())
    assert (decision.step, decision.reason) == (Step.REFUSE, "InvalidSpec")
    assert f"sets {name}," in decision.message


def test_identity_is_refused_in_the_template_of_a_role() -> None:
    wanted = SERVERS.roles(ps={"template": job().env(TF_CONFIG="{}").spec["template"]})
    assert "spec.roles.ps.template.spec.containers" in decide(wanted, observed()).message


def test_many_problems_are_counted_not_listed() -> None:
    tools = {f"unknown{i}": 1 for i in range(9)}
    decision = decide(job().with_spec(**tools), observed())
    assert decision.message.endswith("; and 4 more")


def test_many_earlier_pods_are_counted_not_listed() -> None:
    names = tuple(f"digits-worker-0-{i}" for i in range(5))
    assert decide(TWO, observed(predecessors=names)).message.endswith(f"{names[2]} and 2 more")


@pytest.mark.parametrize(
    ("seen", "service", "secret"),
    [
        (observed(existing=NOTHING_EXISTS), True, True),
        (observed(), False, True),
        (observed(existing=frozenset({("Secret", "digits-0f0e0d0c-agent")})), True, False),
        (observed(pod(0), existing=NOTHING_EXISTS), True, False),
        (observed(pod(0)), False, False),
    ],
    ids=["nothing exists", "Service exists", "Secret exists", "a pod proves the Secret", "all exist"],
)
def test_companions_are_created_only_where_they_are_absent(
    seen: Observed, service: bool, secret: bool
) -> None:
    decision = decide(TWO.started(), seen)
    assert bool(created(decision, "Service")) is service
    assert bool(created(decision, "Secret")) is secret


def test_a_named_claim_is_not_made() -> None:
    assert created(decide(job().outputs(claimName="team"), observed()), "PersistentVolumeClaim") == []
    made = created(decide(job().outputs(size="1Gi"), observed()), "PersistentVolumeClaim")
    assert made == ["digits-outputs"]
