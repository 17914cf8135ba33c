"""Jobs that Kueue runs in another cluster: its real CRDs; what its controllers would do, the test does.

The operator of the management cluster serves one namespace, that of the worker cluster another one.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apiserver import NEWEST, OLDEST, ApiServer
from support.control_cluster import (
    mortal_operator,
    plain_job,
    running_kubelet,
    running_operator,
)
from support.kueue import QUEUE, RIGHTS_TO_ADOPT, Kueue, running_kueue_server
from support.multikueue import MultiKueue

from ftjob.models.names import CONTROLLER, KUEUE_LABEL, LABEL_UID, MULTIKUEUE, PLURAL

WRITES = 15
"""As many as the worker cluster's operator makes until Kueue knows that two pods run, Events included."""
WRITES_HERE = 6
"""As many as that of the management cluster makes in the life below, the key of its agents included."""

RUNS = {"phase": "Running", "runningTime": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_kueue_server(request.param, tmp_path_factory.mktemp("multikueue")) as running:
        yield running


@pytest.fixture
def clusters(server: ApiServer) -> Iterator[MultiKueue]:
    with server.client() as client:
        here, there = (Kueue.in_new_namespace(server, client) for _ in range(2))
        yield MultiKueue(here, there)


def submit(kueue: Kueue, *, labels: dict[str, str] = QUEUE, name: str = "digits", **spec: Any) -> None:
    job = plain_job(name, kueue.space.name, managedBy=MULTIKUEUE, **spec)
    job["metadata"]["labels"] = labels
    kueue.space.create(PLURAL, job)


def writers(job: dict[str, Any]) -> set[str]:
    """Return who has written something of an object."""
    return {entry["manager"] for entry in job["metadata"].get("managedFields", ())}


def test_in_the_management_cluster_a_job_has_a_workload_and_nothing_else(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path
) -> None:
    kueue, space = clusters.here, clusters.here.space
    with running_operator(server, tmp_path, namespace=space.name, home=clusters.there.space.name):
        submit(kueue, name="unlabelled", labels={})
        submit(kueue, workers=2)
        made = kueue.until_there()
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("FrameworkTrainingJob", "digits", True)
        assert made["spec"]["queueName"] == "team-a"
        kueue.admit(2)
        clusters.bring_status(RUNS)
        kueue.until("PodsReady", "True")
        kueue.evict()
        clusters.bring_status({"phase": "Queued"})
        released = kueue.until("QuotaReserved", "False")
        assert "admission" not in released["status"]
        assert kueue.conditions(released)["Requeued"]["status"] == "True"
        kueue.admit(2)
        clusters.bring_status(RUNS)
        kueue.until("PodsReady", "True")
        clusters.bring_status({"phase": "Succeeded", "completionTime": "2026-01-01T00:00:00Z"})
        kueue.until("Finished", "True")
    assert len(space.list(kueue.plural)) == 1, "nobody queues the job without a label"
    for plural in ("pods", "services", "secrets", "persistentvolumeclaims"):
        assert space.list(plural) == []
    for name in ("digits", "unlabelled"):
        assert CONTROLLER not in writers(space.job(name))
    assert space.job()["status"] == {"phase": "Succeeded", "completionTime": "2026-01-01T00:00:00Z"}
    assert "status" not in space.job("unlabelled")


def test_in_the_management_cluster_the_workload_keeps_in_step_with_the_job(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path
) -> None:
    kueue, space = clusters.here, clusters.here.space
    with running_operator(server, tmp_path, namespace=space.name):
        submit(kueue, strategy="Torchrun", workers=2, elastic={"minWorkers": 1, "maxWorkers": 4})
        first = kueue.until_there()
        space.patch(PLURAL, "digits", {"spec": {"workers": 4}})
        second = kueue.until_there(but=first["metadata"]["uid"])
        assert [s["count"] for s in second["spec"]["podSets"]] == [4]
        space.patch(PLURAL, "digits", {"metadata": {"labels": {KUEUE_LABEL: "team-b"}}})
        third = kueue.until_there(but=second["metadata"]["uid"])
        assert third["spec"]["queueName"] == "team-b"
        kueue.admit(4)
        space.patch(PLURAL, "digits", {"spec": {"suspend": True}})
        kueue.until_gone()
        space.patch(PLURAL, "digits", {"spec": {"suspend": False}})
        kueue.until_there()


def test_a_job_lives_in_the_worker_cluster_and_its_status_comes_back(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path
) -> None:
    here, there, space = clusters.here, clusters.there, clusters.there.space
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=here.space.name),
        running_operator(server, tmp_path, namespace=space.name) as operator,
    ):
        submit(here, workers=2)
        clusters.send_workload()
        here.tell(("QuotaReserved", "True", "QuotaReserved", "Quota reserved"))
        there.admit(2)
        job = clusters.send_job()
        here.admit(2)
        space.await_pods()
        ready = there.until("PodsReady", "True")
        meta = ready["metadata"]
        (owner,) = meta["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (job["metadata"]["uid"], True)
        assert meta["labels"][LABEL_UID] == job["metadata"]["uid"]
        for pod in space.pods().values():
            assert pod["spec"]["nodeSelector"] == {"pool": "spot"}
            assert pod["metadata"]["annotations"]["kueue.x-k8s.io/workload"] == meta["name"]
        clusters.bring_status()
        here.until("PodsReady", "True")
        used = {(resource, verb) for verb, resource, code in operator.requests() if code.startswith("2")}
        assert used >= RIGHTS_TO_ADOPT
        kubelet.finish()
        space.await_phase("Succeeded")
        finished = there.until("Finished", "True")
        assert there.conditions(finished)["Finished"]["reason"] == "Succeeded"
        clusters.bring_status()
        here.until("Finished", "True")
    assert here.space.job()["status"] == space.job()["status"]
    assert here.space.pods() == {}
    assert (len(here.space.list(here.plural)), len(space.list(there.plural))) == (1, 1)


def test_in_the_worker_cluster_an_evicted_job_stops_and_gives_its_admission_back(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path
) -> None:
    there, space = clusters.there, clusters.there.space
    with running_kubelet(server, space.name), worker_cluster(server, clusters, tmp_path):
        there.admit(2)
        clusters.send_job()
        space.await_pods()
        there.until("PodsReady", "True")
        there.evict()
        space.await_phase("Queued")
        released = there.until("QuotaReserved", "False")
        assert "admission" not in released["status"]
        assert space.pods() == {}
        there.admit(2)
        job = space.await_pods()
        assert job["status"]["restarts"] == {"failures": 0, "disruptions": 0}


@pytest.mark.parametrize("labelled", [True, False], ids=["copied by MultiKueue", "by whom we don't know"])
def test_a_workload_that_comes_after_its_job_is_waited_for(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path, labelled: bool
) -> None:
    there, space = clusters.there, clusters.there.space
    with running_kubelet(server, space.name), worker_cluster(server, clusters, tmp_path) as operator:
        copy = there.workload()
        space.delete(there.plural, copy["metadata"]["name"])
        clusters.send_job()
        waiting = space.await_job(lambda job: "there is no Workload" in str(job.get("status")))
        assert waiting["status"]["phase"] == "Queued"
        asked = operator.requests()["get", "workloads", "404"]
        time.sleep(2)
        assert operator.requests()["get", "workloads", "404"] <= asked + 1, "it does not spin"
        metadata = {"name": copy["metadata"]["name"], "namespace": space.name}
        labels = copy["metadata"]["labels"] if labelled else {}
        kind = {"apiVersion": f"kueue.x-k8s.io/{there.version}", "kind": "Workload"}
        space.create(there.plural, {**kind, "metadata": {**metadata, "labels": labels}, "spec": copy["spec"]})
        there.admit(2)
        space.await_pods()


def test_a_workload_for_other_pods_is_not_run_and_kueue_is_told(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path
) -> None:
    there, space = clusters.there, clusters.there.space
    with running_operator(server, tmp_path, namespace=clusters.here.space.name):
        submit(clusters.here, workers=2)
        pod_sets = clusters.here.until_there()["spec"]["podSets"]
        clusters.send_workload(podSets=[{**pod_sets[0], "count": 3}])
    with running_operator(server, tmp_path, namespace=space.name):
        there.admit(3)
        clusters.send_job()
        finished = there.until("Finished", "True")
        assert there.conditions(finished)["Finished"]["reason"] == "OutOfSync"
        job = space.await_job(lambda job: "OutOfSync" in str(job.get("status")))
    assert job["status"]["phase"] == "Queued"
    assert "of worker it has 3 x" in str(job["status"]["conditions"])
    assert space.pods() == {}


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_the_worker_cluster_goes_on_though_its_operator_dies_after_any_of_its_writes(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path, write: int
) -> None:
    there, space = clusters.there, clusters.there.space
    with running_kubelet(server, space.name) as kubelet:
        with running_operator(server, tmp_path, namespace=clusters.here.space.name):
            submit(clusters.here, workers=2)
            clusters.send_workload()
        there.admit(2)
        clusters.send_job()
        with mortal_operator(server, tmp_path, space.name, write=write):
            job = space.await_pods()
            there.until("PodsReady", "True")
    assert job["status"]["podAttempt"] == 0
    assert {pod: len(uids) for pod, uids in kubelet.born.items()} == {
        "digits-worker-0-0": 1,
        "digits-worker-0-1": 1,
    }
    assert len(space.list(there.plural)) == 1


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
@pytest.mark.parametrize("write", range(1, WRITES_HERE + 1))
def test_the_management_cluster_goes_on_though_its_operator_dies_after_any_of_its_writes(
    server: ApiServer, clusters: MultiKueue, tmp_path: Path, write: int
) -> None:
    kueue, space = clusters.here, clusters.here.space
    submit(kueue, workers=2)
    with mortal_operator(server, tmp_path, space.name, write=write):
        first = kueue.until_there()
        kueue.admit(2)
        clusters.bring_status(RUNS)
        kueue.until("PodsReady", "True")
        kueue.evict()
        clusters.bring_status({"phase": "Queued"})
        kueue.until("QuotaReserved", "False")
        space.patch(PLURAL, "digits", {"spec": {"suspend": True}})
        kueue.until_gone()
        space.patch(PLURAL, "digits", {"spec": {"suspend": False}})
        second = kueue.until_there()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert CONTROLLER not in writers(space.job())


def worker_cluster(server: ApiServer, clusters: MultiKueue, folder: Path) -> Any:
    """Have the management cluster's operator make a Workload, copy it, and run the worker cluster's."""
    with running_operator(server, folder, namespace=clusters.here.space.name):
        submit(clusters.here, workers=2)
        clusters.send_workload()
    return running_operator(server, folder, namespace=clusters.there.space.name)
