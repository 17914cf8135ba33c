"""Attempts that follow one another, as the API server sees them."""

import threading
from pathlib import Path

import pytest
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, mortal_operator, pods_run, running_kubelet, running_operator

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

RESTART = {"limit": 1, "backoffSeconds": 0}
WRITES = 14
"""More than the restart takes: its count, three deletions, three pods, Running, Succeeded, and Events."""


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_no_restart_is_free_though_the_operator_dies_after_any_of_its_writes(
    server: ApiServer, space: Namespace, tmp_path: Path, write: int
) -> None:
    with running_kubelet(server, space.name) as kubelet:
        with running_operator(server, tmp_path, namespace=space.name):
            space.submit(workers=3, restart=RESTART)
            space.await_pods()
        space.let_have_run()
        with mortal_operator(server, tmp_path, space.name, write=write):
            kubelet.finish("digits-worker-0-1", 137)
            again = space.await_job(lambda job: job["status"].get("podAttempt") == 1 and pods_run(job))
            assert again["status"]["restarts"]["failures"] == 1
            kubelet.finish()
            job = space.await_phase("Succeeded")
    assert {pod: len(uids) for pod, uids in kubelet.born.items()} == {
        f"digits-worker-{attempt}-{index}": 1 for attempt in range(2) for index in range(3)
    }
    assert job["status"]["attempt"] == 1
    assert job["status"]["restarts"]["failures"] == 1
    assert job["status"]["restarts"]["disruptions"] == 0
    assert sorted(space.pods()) == [f"digits-worker-1-{index}" for index in range(3)]


def test_a_pod_deleted_under_its_ranks_is_a_disruption(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
        space.submit(workers=2)
        space.await_pods()
        space.delete("pods", "digits-worker-0-1")
        job = space.await_job(lambda job: job["status"]["attempt"] == 1 and pods_run(job))
        assert job["status"]["restarts"]["disruptions"] == 1
        assert job["status"]["restarts"]["failures"] == 0


def test_suspending_and_resuming(server: ApiServer, space: Namespace, tmp_path: Path) -> None:
    with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
        space.submit(workers=2, suspend=True)
        space.await_phase("Suspended")
        assert space.pods() == {}
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": False}})
        space.await_pods()
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": True}})
        space.await_phase("Suspended")
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": False}})
        job = space.await_pods()
        assert job["status"]["attempt"] == 1
        assert job["status"]["restarts"] == {"failures": 0, "disruptions": 0}
        assert sorted(space.pods()) == [f"digits-worker-1-{index}" for index in range(2)]


def test_a_finished_job_is_deleted_when_its_time_to_live_is_over(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name),
    ):
        space.submit(ttlSecondsAfterFinished=1)
        space.await_pods()
        kubelet.finish()
        space.await_phase("Succeeded")
        for _ in range(200):
            if not space.list("frameworktrainingjobs"):
                return
            threading.Event().wait(0.1)
    raise AssertionError("the job is still there")


def test_the_deadline_ends_a_running_job(server: ApiServer, space: Namespace, tmp_path: Path) -> None:
    with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
        space.submit(workers=2, activeDeadlineSeconds=3)
        job = space.await_phase("Failed")
        assert any(c["reason"] == "DeadlineExceeded" for c in job["status"]["conditions"])
