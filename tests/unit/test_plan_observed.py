"""Reading pods as the API server gives them."""

from typing import Any

import pytest
from support.builders import NOW, agent_message

from ftjob.plan.observed.pod import PodState, read_pod

META = {
    "name": "digits-worker-2-1",
    "uid": "pod-uid",
    "labels": {
        "ftjob.dev/uid": "job-uid",
        "ftjob.dev/role": "worker",
        "ftjob.dev/index": "1",
        "ftjob.dev/attempt": "2",
    },
}


def read(status: dict[str, Any], *, gone: bool = False, **meta: Any) -> PodState:
    raw = {"metadata": META | meta, "spec": {"nodeName": "node-7"}, "status": status}
    return read_pod(raw, trainer="trainer", seen=NOW, gone=gone)


def trainer(state: dict[str, Any]) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "proxy", "state": {"running": {}}}, {"name": "trainer"} | state]}


def test_labels_say_who_a_pod_is() -> None:
    found = read({"podIP": "10.0.0.9"})
    assert (found.role, found.index, found.attempt) == ("worker", 1, 2)
    assert (found.name, found.uid, found.node, found.ip) == (
        "digits-worker-2-1", "pod-uid", "node-7", "10.0.0.9",
    )  # fmt: skip


@pytest.mark.parametrize("labels", [{}, None, {"ftjob.dev/index": "x", "ftjob.dev/attempt": "-1"}])
def test_strange_labels_are_no_error(labels: dict[str, str] | None) -> None:
    found = read({}, labels=labels)
    assert (found.index, found.attempt) == (0, 0)


def test_the_trainers_end_counts_while_a_sidecar_lives() -> None:
    said = agent_message(rank=2)
    end = {"exitCode": 3, "reason": "Error", "message": said}
    found = read({"phase": "Running"} | trainer({"state": {"terminated": end}}))
    assert found.is_over
    assert not found.running
    assert found.terminated is not None
    assert (found.terminated.exit_code, found.terminated.seen) == (3, NOW)
    assert found.terminated.message is not None


@pytest.mark.parametrize("mark", ["", "[rank 3] "])
def test_the_log_speaks_for_an_agent_that_was_killed_without_a_word(mark: str) -> None:
    log = "".join(f"{mark}step {step} \x1b[0m\x00é\n" for step in range(100))
    end = {"exitCode": 137, "reason": "OOMKilled", "message": log}
    found = read(trainer({"state": {"terminated": end}}))
    assert found.terminated is not None
    assert found.terminated.log_tail.splitlines() == [f"step {step} é" for step in range(80, 100)]
    assert found.terminated.message is None


def test_a_sidecars_failure_does_not_hide_the_trainers_success() -> None:
    end = {"exitCode": 0, "reason": "Completed"}
    assert read({"phase": "Failed"} | trainer({"state": {"terminated": end}})).succeeded


@pytest.mark.parametrize(("phase", "succeeded"), [("Failed", False), ("Succeeded", True)])
def test_a_pod_that_ended_without_container_status_is_over(phase: str, succeeded: bool) -> None:
    found = read({"phase": phase, "reason": "Evicted"})
    assert found.is_over
    assert found.succeeded is succeeded
    assert found.terminated is not None
    assert found.terminated.reason == "Evicted"


def test_running_deleting_and_gone() -> None:
    assert read(trainer({"state": {"running": {}}})).running
    assert read({}, deletionTimestamp="2027-01-01T00:00:00Z").deleting
    gone = read({}, gone=True)
    assert (gone.gone, gone.is_over, gone.succeeded) == (True, True, False)


@pytest.mark.parametrize(("status", "reason"), [("True", "PreemptionByScheduler"), ("False", None)])
def test_a_disruption_counts_while_it_holds(status: str, reason: str | None) -> None:
    condition = {"type": "DisruptionTarget", "status": status, "reason": "PreemptionByScheduler"}
    assert read({"conditions": [condition]}).disruption == reason


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        ({}, None),
        (trainer({"state": {"waiting": {"reason": "ContainerCreating"}}}), None),
        (trainer({"state": {"waiting": {"reason": "PodInitializing"}}}), None),
        (
            trainer({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}),
            "ImagePullBackOff: no such image",
        ),
        (
            {"initContainerStatuses": [{"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}]},
            "ErrImagePull: ",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available",
                    }
                ]
            },
            "Unschedulable: 0/3 nodes are available",
        ),
    ],
)
def test_why_a_pod_waits(status: dict[str, Any], waiting: str | None) -> None:
    assert read(status).waiting == waiting


def test_a_container_that_runs_on_beside_an_ended_trainer_is_seen() -> None:
    ended = {"name": "trainer", "state": {"terminated": {"exitCode": 0}}}
    beside = {"name": "logs", "state": {"running": {}}}
    raw = {"metadata": {"name": "p"}, "status": {"phase": "Running", "containerStatuses": [ended, beside]}}
    assert read_pod(raw, trainer="trainer", seen=0.0).has_sidecars
    beside["state"] = {"terminated": {"exitCode": 0}}
    assert not read_pod(raw, trainer="trainer", seen=0.0).has_sidecars
