"""Reports in the cluster: which pod writes which, what status says of it; the job minds none of it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from support.builders import CONFIG, NOW, JobBuilder, job, observed, pod

from ftjob.models.status import Capture, Phase, ProfileStatus
from ftjob.plan.collector.pod import build_collector
from ftjob.plan.collector.reports import START_SECONDS, look_after
from ftjob.plan.decide import decide
from ftjob.plan.observed.collector import WHOLE_JOB, CollectorState, read_collector
from ftjob.plan.plan import CollectorImage, Plan, PodRef, Step
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.leader_state import LeaderState

IMAGE = CollectorImage("ftjob/operator:1", ("python", "-m", "ftjob.insight"))
WITH = dataclasses.replace(CONFIG, collector=IMAGE)
READY = Capture(id="c7", phase="Ready", ranks="2/2", path="captures/c7")
SECOND = Capture(id="c8", phase="Partial", ranks="1/2", path="captures/c8", reason="no capture from ranks 1")
TWO = job().strategy("Torchrun").workers(2).outputs(size="1Gi").running()


def with_captures(*captures: Capture, **profile: Any) -> JobBuilder:
    return TWO.with_status(profile=ProfileStatus(captures=list(captures), **profile))


def collector(about: str = "c7", **state: Any) -> CollectorState:
    given = {"name": f"digits-report-{about}", "uid": f"uid-{about}", "seen": NOW, **state}
    return CollectorState(about, **given)


class Jobs:
    """One job whose status is kept from look to look, as an operator does."""

    def __init__(self, wanted: JobBuilder) -> None:
        self.job = wanted.build()
        self.plan: Plan

    def look(self, *collectors: CollectorState, now: float = NOW, config: Any = WITH) -> ProfileStatus:
        seen = observed(pod(0).running(), pod(1).running(), leader=LeaderState(0, "Running", None))
        seen = dataclasses.replace(seen, collectors=collectors)
        self.plan = decide(self.job, seen, now=now, config=config)
        status = derive_status(self.job, seen, self.plan, now=now)
        self.job = dataclasses.replace(self.job, status=status, raw_status=status.to_wire())
        assert status.profile is not None
        return status.profile

    @property
    def created(self) -> str:
        create = self.plan.collector.create
        return create.name.partition("-report")[2] if create is not None else "nothing"


def finished(builder: JobBuilder) -> JobBuilder:
    return builder.with_status(phase=Phase.SUCCEEDED, completion_time="2026-01-01T00:00:00Z")


def test_captures_are_reported_on_one_after_the_other_and_each_once() -> None:
    jobs = Jobs(with_captures(READY, SECOND))
    jobs.look()
    assert (jobs.plan.step, jobs.created) == (Step.CONTINUE, "-c7")
    jobs.look(collector())
    assert jobs.created == "nothing"
    profile = jobs.look(collector(ended=True, succeeded=True))
    assert [capture.report for capture in profile.captures] == ["captures/c7/report.html", None]
    assert not jobs.plan.collector.delete, "status is not written yet"
    jobs.look(collector(ended=True, succeeded=True))
    assert jobs.plan.collector.delete == (PodRef("digits-report-c7", "uid-c7"),)
    assert jobs.created == "-c8"
    jobs.look(collector("c8", ended=True, why="c8: no rank has left anything"))
    profile = jobs.look()
    assert profile.captures[1].report_reason == "c8: no rank has left anything"
    assert jobs.created == "nothing"


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_a_job_that_has_ended_gets_its_own_report_after_those_of_its_captures(phase: Phase) -> None:
    jobs = Jobs(finished(with_captures(READY)).with_status(phase=phase))
    jobs.look()
    assert (jobs.plan.step, jobs.created) == (Step.REST, "-c7")
    jobs.look(collector(ended=True, succeeded=True))
    jobs.look()
    assert jobs.created == ""
    profile = jobs.look(collector(WHOLE_JOB, ended=True, succeeded=True))
    assert (profile.report_path, profile.report_reason) == ("report.html", None)
    before = jobs.job.status
    jobs.look()
    assert jobs.created == "nothing"
    assert jobs.job.status == before


def test_a_job_with_a_verdict_has_a_report_without_any_capture() -> None:
    jobs = Jobs(with_captures(verdict="no problem found"))
    jobs.look()
    assert jobs.created == "nothing", "it still runs"
    jobs = Jobs(finished(with_captures(verdict="no problem found")))
    jobs.look()
    assert jobs.created == ""


@pytest.mark.parametrize(
    "builder",
    [
        finished(with_captures()),
        finished(with_captures(Capture(id="c7", phase="Failed", reason="no rank captured anything"))),
        finished(with_captures(READY.model_copy(update={"path": None}))),
        with_captures(READY.model_copy(update={"phase": "Capturing"})),
    ],
    ids=["nothing measured", "failed", "removed", "not whole yet"],
)
def test_there_is_no_collector_where_there_is_nothing_to_report(builder: JobBuilder) -> None:
    jobs = Jobs(builder)
    jobs.look()
    assert jobs.created == "nothing"


def test_an_operator_that_is_told_of_no_image_makes_no_collector() -> None:
    jobs = Jobs(with_captures(READY))
    jobs.look(config=CONFIG)
    assert jobs.created == "nothing"


def test_a_collector_that_never_starts_is_given_up_with_the_reason() -> None:
    jobs = Jobs(with_captures(READY))
    waits = collector(why="Unschedulable: 0/3 nodes are available")
    jobs.look(waits, now=NOW + 10)
    assert jobs.plan.next_look is not None
    assert jobs.plan.next_look <= START_SECONDS - 10
    profile = jobs.look(waits, now=NOW + START_SECONDS)
    assert profile.captures[0].report_reason == (
        "the collector has not ended in 15 min (Unschedulable: 0/3 nodes are available)"
    )
    jobs.look(waits, now=NOW + START_SECONDS + 1)
    assert jobs.plan.collector.delete == (PodRef(waits.name, waits.uid),)
    assert jobs.created == "nothing"


def test_a_refused_collector_is_told_and_not_tried_again() -> None:
    jobs = Jobs(with_captures(READY))
    refused = collector(uid="", ended=True, why="exceeded quota: pods=4")
    assert jobs.look(refused).captures[0].report_reason == "exceeded quota: pods=4"
    jobs.look(refused)
    assert (jobs.created, jobs.plan.collector.delete, jobs.plan.step) == ("nothing", (), Step.CONTINUE)


def test_a_collector_of_a_capture_that_status_has_left_out_goes_and_holds_up_no_other() -> None:
    jobs = Jobs(with_captures(READY))
    jobs.look(collector("c1", ended=True, succeeded=True))
    assert jobs.plan.collector.delete == (PodRef("digits-report-c1", "uid-c1"),)
    assert jobs.created == "-c7"


def test_an_operator_whose_collector_was_deleted_by_somebody_makes_another() -> None:
    jobs = Jobs(with_captures(READY))
    jobs.look(collector())
    jobs.look()
    assert jobs.created == "-c7"


def test_a_status_from_which_reports_follow_is_looked_at_again() -> None:
    none, running = with_captures(), with_captures(READY.model_copy(update={"phase": "Capturing"}))
    whole, ended = with_captures(READY), finished(with_captures(READY))
    assert look_after(none.status, running.status) is None
    assert look_after(running.status, whole.status) is not None
    assert look_after(whole.status, whole.status) is None
    assert look_after(whole.status, ended.status) is not None


def manifest(about: str = "c7", **spec: Any) -> dict[str, Any]:
    builder = with_captures(READY)
    template = json.loads(json.dumps(builder.spec["template"]))
    template["spec"] |= spec
    return build_collector(builder.template(template).build(), about, IMAGE)


def test_the_pod_reads_and_writes_the_outputs_and_may_do_nothing_else() -> None:
    body = manifest()
    assert body["metadata"]["labels"]["ftjob.dev/collects"] == "c7"
    assert body["metadata"]["ownerReferences"][0]["name"] == "digits"
    spec = body["spec"]
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["image"] == "ftjob/operator:1"
    assert container["command"] == ["python", "-m", "ftjob.insight", "write", "/outputs", "c7"]
    assert container["volumeMounts"][0] == {
        "name": "ftjob-outputs",
        "mountPath": "/outputs",
        "subPath": f"team/digits/{TWO.build().uid}",
    }
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    context = container["securityContext"]
    assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
    assert manifest(WHOLE_JOB)["spec"]["containers"][0]["command"][-1] == "/outputs"


def test_the_collector_is_told_the_job_as_outputs_of_a_local_run_have_it() -> None:
    (told,) = manifest()["spec"]["containers"][0]["env"]
    body = json.loads(told["value"].replace("$$(", "$("))
    assert (body["kind"], body["metadata"]["name"], body["spec"]) == (
        "FrameworkTrainingJob",
        "digits",
        {"strategy": "Torchrun"},
    )
    assert body["status"]["phase"] == "Running"


def test_the_report_of_a_job_that_brings_code_says_which() -> None:
    code = {"configMap": "digits-code-0a0a0a0a", "sha256": "0a" * 32}
    built = build_collector(with_captures(READY).with_spec(code=code).build(), "c7", IMAGE)
    (told,) = built["spec"]["containers"][0]["env"]
    assert json.loads(told["value"])["spec"] == {"strategy": "Torchrun", "code": code}


@pytest.mark.parametrize(
    ("pod_context", "container_context", "user"),
    [
        ({}, {}, {"runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}}),
        ({"runAsUser": 1000, "fsGroup": 7}, {}, {"capabilities": {"drop": ["ALL"]}}),
        ({"runAsNonRoot": True}, {}, {"capabilities": {"drop": ["ALL"]}}),
        ({"runAsUser": 5}, {"runAsUser": 0}, {"runAsUser": 0, "capabilities": {"drop": ["ALL"]}}),
    ],
)
def test_it_runs_as_the_ranks_do(
    pod_context: dict[str, Any], container_context: dict[str, Any], user: dict[str, Any]
) -> None:
    containers = [{"name": "trainer", "image": "x", "securityContext": container_context}]
    spec = manifest(containers=containers, securityContext=pod_context)["spec"]
    assert pod_context.items() <= spec["securityContext"].items()
    assert user.items() <= spec["containers"][0]["securityContext"].items()


def test_it_goes_where_the_workers_may_go() -> None:
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    spec = manifest(tolerations=tolerations, nodeSelector={"pool": "gpu"})["spec"]
    assert spec["tolerations"] == tolerations
    assert "nodeSelector" not in spec


@pytest.mark.parametrize(
    ("status", "ended", "why"),
    [
        ({"phase": "Pending"}, False, ""),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no"}
                ],
            },
            False,
            "Unschedulable: no",
        ),
        ({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}, True, "too long"),
        (
            {
                "phase": "Failed",
                "containerStatuses": [
                    {
                        "name": "collector",
                        "state": {"terminated": {"exitCode": 1, "message": "a\n/outputs: it is full\n"}},
                    }
                ],
            },
            True,
            "/outputs: it is full",
        ),
    ],
)
def test_the_state_of_a_collector_is_read_from_its_pod(status: dict[str, Any], ended: bool, why: str) -> None:
    body = {**manifest(), "status": status}
    body["metadata"]["uid"] = "u"
    found = read_collector(body, seen=5.0)
    assert (found.about, found.ended, found.succeeded, found.why, found.seen) == (
        "c7",
        ended,
        False,
        why,
        5.0,
    )
