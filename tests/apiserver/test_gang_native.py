"""Kubernetes' own gangs on an API server that serves them; the tests say the scheduler's words."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apiserver import GANGS, NEWEST, OLDEST, ApiServer, running_api_server
from support.control_cluster import (
    Namespace,
    new_namespace,
    pods_run,
    running_kubelet,
    running_operator,
    watch,
)
from support.crds import install

PODGROUPS = "podgroups.scheduling.k8s.io"
WRITES = 8
"""More than a start takes: the status, the PodGroup, Service, Secret, two pods, Running."""


@pytest.fixture(scope="module")
def gangs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_api_server(NEWEST, tmp_path_factory.mktemp("gangs"), *GANGS) as server:
        install(server)
        yield server


@pytest.fixture
def space(gangs: ApiServer) -> Iterator[Namespace]:
    with gangs.client() as client:
        yield new_namespace(client)


def failed(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in job["status"]["conditions"] if c["type"] == "Failed")
    return found


def test_the_group_comes_before_its_pods_and_goes_with_them(
    gangs: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with (
        running_kubelet(gangs, space.name) as kubelet,
        running_operator(gangs, tmp_path, namespace=space.name),
    ):
        space.submit(workers=3)
        job = space.await_pods()
        assert job["status"]["gang"] == "Native"
        (group,) = space.list(PODGROUPS)
        assert group["metadata"]["name"] == "digits-0"
        assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 3}}
        assert group["spec"]["disruptionMode"] == {"all": {}}
        pods = space.pods()
        assert {p["spec"]["schedulingGroup"]["podGroupName"] for p in pods.values()} == {"digits-0"}
        created = int(group["metadata"]["resourceVersion"])
        assert all(created < int(p["metadata"]["resourceVersion"]) for p in pods.values())
        kubelet.finish()
        space.await_phase("Succeeded")
        await_none(space)


def test_each_attempt_has_a_group_of_its_own(gangs: ApiServer, space: Namespace, tmp_path: Path) -> None:
    with running_kubelet(gangs, space.name), running_operator(gangs, tmp_path, namespace=space.name):
        space.submit(workers=2)
        space.await_pods()
        space.delete("pods", "digits-worker-0-1")
        space.await_job(lambda job: job["status"]["attempt"] == 1 and pods_run(job))
        assert present(space) == ["digits-1"]
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": True}})
        space.await_phase("Suspended")
        await_none(space)


def test_a_gang_without_room_says_so_gives_up_and_leaves_nothing(
    gangs: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with running_operator(gangs, tmp_path, namespace=space.name):
        space.submit(workers=2, scheduling={"timeoutSeconds": 5})
        space.await_phase("Starting")
        words = {
            "type": "PodGroupInitiallyScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "minCount (2) cannot be satisfied: 1 scheduled",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for _, group in watch(space, PODGROUPS):
            name = group["metadata"]["name"]
            break
        space.patch(PODGROUPS, name, {"status": {"conditions": [words]}}, "status")
        waiting = space.await_job(lambda job: "cannot be satisfied" in str(job["status"]["conditions"]))
        assert waiting["status"]["phase"] == "Starting"
        job = space.await_phase("Failed")
        assert failed(job)["reason"] == "StartTimeout"
        assert "minCount (2) cannot be satisfied" in failed(job)["message"]
        await_none(space)
        # Pods without a node go at once.
        assert space.pods() == {}


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_a_start_goes_on_though_the_operator_dies_after_any_of_its_writes(
    gangs: ApiServer, space: Namespace, tmp_path: Path, write: int
) -> None:
    with running_kubelet(gangs, space.name):
        space.submit(workers=2)
        with running_operator(
            gangs, tmp_path, "--no-leader-election", namespace=space.name, dies_after=write
        ) as operator:
            for _ in range(600):
                if operator.process.poll() is not None:
                    break
                threading.Event().wait(0.1)
            assert operator.process.poll() == 137
        with running_operator(gangs, tmp_path, "--no-leader-election", namespace=space.name):
            job = space.await_pods()
            assert job["status"]["podAttempt"] == 0
            assert job["status"]["gang"] == "Native"
    assert present(space) == ["digits-0"]
    assert {p["spec"]["schedulingGroup"]["podGroupName"] for p in space.pods().values()} == {"digits-0"}


@pytest.mark.parametrize("server", [OLDEST, NEWEST], indirect=True)
def test_where_it_is_not_served_auto_goes_without_and_native_says_what_to_do(
    server: ApiServer, tmp_path: Path
) -> None:
    with server.client() as client:
        space = new_namespace(client)
        with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
            space.submit("auto")
            assert "gang" not in space.await_pods("auto")["status"]
            space.submit("native", scheduling={"gang": "Native"})
            job = space.await_phase("Failed", "native")
            assert failed(job)["reason"] == "InvalidSpec"
            assert "set scheduling.gang to Auto or Off" in failed(job)["message"]
            space.patch("frameworktrainingjobs", "native", {"spec": {"scheduling": {"gang": "Auto"}}})
            space.await_pods("native")


def present(space: Namespace) -> list[str]:
    """Return the names of the PodGroups that nobody has deleted.

    The controller manager, which is not here, takes their finalizer off when no pod needs them.
    """
    return [g["metadata"]["name"] for g in space.list(PODGROUPS) if "deletionTimestamp" not in g["metadata"]]


def await_none(space: Namespace) -> None:
    """Wait until no PodGroup is left."""
    for _ in range(300):
        if not present(space):
            return
        threading.Event().wait(0.1)
    raise AssertionError(space.list(PODGROUPS))
