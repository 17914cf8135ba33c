"""Jobs in Kueue's queues: its real CRDs; what its controllers would say, the test says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apiserver import NEWEST, OLDEST, ApiServer
from support.control_cluster import (
    Namespace,
    mortal_operator,
    plain_job,
    running_kubelet,
    running_operator,
)
from support.kueue import QUEUE, RIGHTS, TOLERATION, URGENT, Kueue, running_kueue_server

WRITES = 9
"""More than queueing and starting take, with two writes of status in between."""


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_kueue_server(request.param, tmp_path_factory.mktemp("kueue")) as running:
        yield running


@pytest.fixture
def kueue(server: ApiServer) -> Iterator[Kueue]:
    with server.client() as client:
        yield Kueue.in_new_namespace(server, client)


def submit(space: Namespace, *, name: str = "digits", labels: dict[str, str] = QUEUE, **spec: object) -> None:
    job = plain_job(name, space.name, **spec)  # type: ignore[arg-type]
    job["metadata"]["labels"] = labels
    space.create("frameworktrainingjobs", job)


def test_a_job_waits_runs_where_it_is_let_in_and_reports_its_end(
    server: ApiServer, kueue: Kueue, tmp_path: Path
) -> None:
    space = kueue.space
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name),
    ):
        submit(space, workers=2, scheduling={"priorityClassName": "high"})
        space.await_phase("Queued")
        kueue.tell(("QuotaReserved", "False", "Pending", "insufficient unused quota for cpu"))
        waiting = space.await_job(lambda job: "insufficient unused quota" in str(job["status"]))
        assert waiting["status"]["phase"] == "Queued"
        assert "startTime" not in waiting["status"]
        assert space.pods() == {}
        workload = kueue.workload()
        assert workload["spec"]["queueName"] == "team-a"
        assert workload["spec"]["priority"] == 1000
        assert [(p["name"], p["count"]) for p in workload["spec"]["podSets"]] == [("worker", 2)]
        (owner,) = workload["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("FrameworkTrainingJob", "digits")
        kueue.admit(2)
        space.await_pods()
        for pod in space.pods().values():
            assert pod["spec"]["nodeSelector"] == {"pool": "spot"}
            assert TOLERATION in pod["spec"]["tolerations"]
        kueue.until("PodsReady", "True")
        kubelet.finish()
        space.await_phase("Succeeded")
        finished = kueue.until("Finished", "True")
        assert kueue.conditions(finished)["Finished"]["reason"] == "Succeeded"


def test_an_evicted_job_stops_gives_its_admission_back_and_goes_on_when_let_in_again(
    server: ApiServer, kueue: Kueue, tmp_path: Path
) -> None:
    space = kueue.space
    with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
        submit(space, workers=2)
        kueue.admit(2)
        space.await_pods()
        kueue.until("PodsReady", "True")
        kueue.evict()
        queued = space.await_phase("Queued")
        assert "Preempted to accommodate" in str(queued["status"]["conditions"])
        released = kueue.until("QuotaReserved", "False")
        assert "admission" not in released["status"]
        assert kueue.conditions(released)["Admitted"]["status"] == "False"
        assert kueue.conditions(released)["Requeued"]["status"] == "True"
        assert space.pods() == {}
        kueue.admit(2)
        job = space.await_pods()
        assert job["status"]["podAttempt"] == 1
        assert job["status"]["restarts"] == {"failures": 0, "disruptions": 0}
        assert sorted(space.pods()) == ["digits-worker-1-0", "digits-worker-1-1"]


def test_an_elastic_job_runs_with_the_workers_that_are_let_in(
    server: ApiServer, kueue: Kueue, tmp_path: Path
) -> None:
    space = kueue.space
    with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
        submit(space, strategy="Torchrun", workers=3, elastic={"minWorkers": 1, "maxWorkers": 4})
        kueue.admit(2)
        job = space.await_pods()
        assert [role["desired"] for role in job["status"]["roles"]] == [2]
        assert sorted(space.pods()) == ["digits-worker-0-0", "digits-worker-0-1"]
        assert kueue.workload()["spec"]["podSets"][0]["minCount"] == 1


def test_a_suspended_job_leaves_the_queue(server: ApiServer, kueue: Kueue, tmp_path: Path) -> None:
    space = kueue.space
    with running_kubelet(server, space.name), running_operator(server, tmp_path, namespace=space.name):
        submit(space, workers=2)
        kueue.admit(2)
        space.await_pods()
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": True}})
        space.await_phase("Suspended")
        kueue.until_gone()
        assert space.pods() == {}
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": False}})
        space.await_phase("Queued")
        kueue.admit(2)
        space.await_pods()


def test_every_right_in_kueue_is_used(server: ApiServer, kueue: Kueue, tmp_path: Path) -> None:
    space = kueue.space
    with (
        running_kubelet(server, space.name),
        running_operator(server, tmp_path, namespace=space.name, cluster_wide=True) as operator,
    ):
        submit(space, scheduling={"priorityClassName": "high"})
        kueue.admit(1)
        space.await_pods()
        space.patch("frameworktrainingjobs", "digits", {"spec": {"suspend": True}})
        space.await_phase("Suspended")
        kueue.until_gone()
        submit(space, name="soon", labels=QUEUE | URGENT, scheduling={"priorityClassName": "high"})
        kueue.admit(1)
        assert kueue.workload()["spec"]["priority"] == 2000, "of its own class, whatever its pods have"
        space.await_pods("soon")
        used = {(resource, verb) for verb, resource, code in operator.requests() if code.startswith("2")}
    assert used >= RIGHTS


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_queueing_goes_on_though_the_operator_dies_after_any_of_its_writes(
    server: ApiServer, kueue: Kueue, tmp_path: Path, write: int
) -> None:
    space = kueue.space
    with running_kubelet(server, space.name) as kubelet:
        submit(space, workers=2)
        with mortal_operator(server, tmp_path, space.name, write=write):
            kueue.admit(2)
            job = space.await_pods()
            kueue.until("PodsReady", "True")
    assert job["status"]["podAttempt"] == 0
    assert {pod: len(uids) for pod, uids in kubelet.born.items()} == {
        "digits-worker-0-0": 1,
        "digits-worker-0-1": 1,
    }
    assert len(space.list(kueue.plural)) == 1
