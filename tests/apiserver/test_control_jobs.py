"""The operator against a real API server: what it makes of a job, and what it leaves alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apiserver import NEWEST, OLDEST, ApiServer
from support.control_cluster import Kubelet, Namespace, index_of, running_kubelet, running_operator

newest_only = pytest.mark.parametrize("server", [NEWEST], indirect=True)


@pytest.fixture
def kubelet(server: ApiServer, space: Namespace) -> Iterator[Kubelet]:
    with running_kubelet(server, space.name) as running:
        yield running


@pytest.mark.parametrize("server", [OLDEST, NEWEST], indirect=True)
def test_a_job_becomes_objects_of_its_own_and_succeeds(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path
) -> None:
    with running_operator(server, tmp_path, namespace=space.name) as operator:
        uid = space.submit(workers=3)["metadata"]["uid"]
        running = space.await_pods()
        objects = [space.get("services", "digits"), *space.pods().values()]
        objects += [s for s in space.list("secrets") if s["metadata"]["name"] != "ftjob-agent-key"]
        assert len(objects) == 5
        for thing in objects:
            assert thing["metadata"]["labels"]["ftjob.dev/uid"] == uid
            (owner,) = thing["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"], "blockOwnerDeletion" in owner) == (uid, True, False)
        assert sorted(index_of(pod) for pod in space.pods().values()) == [0, 1, 2]
        assert running["status"]["startTime"] <= min(
            pod["metadata"]["creationTimestamp"] for pod in space.pods().values()
        )
        kubelet.finish()
        space.await_phase("Succeeded")
        mine = {
            key: count
            for key, count in operator.requests().items()
            if key[0] not in {"get", "list", "watch"} and key[1] not in {"leases", "events", "pods"}
        }
    # The start, Running and Succeeded; the agent key and the job's own Secret.
    assert mine[("patch", "frameworktrainingjobs/status", "200")] <= 4
    assert mine[("create", "services", "201")] == 1
    assert mine[("create", "secrets", "201")] == 2
    assert mine[("create", "configmaps", "201")] == 1
    assert len(mine) == 4


@newest_only
def test_nothing_is_written_while_nothing_happens(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path
) -> None:
    def about_the_first() -> list[tuple[str, str]]:
        return [(resource, name) for resource, name in server.writes(space.name) if name.startswith("digits")]

    with running_operator(server, tmp_path, namespace=space.name):
        space.submit()
        before = space.await_pods()
        # A job that comes and goes shows that the operator has seen everything before it.
        space.submit("second")
        space.await_pods("second")
        written = about_the_first()
        space.submit("third")
        space.await_pods("third")
        assert about_the_first() == written
        assert dict(written).keys() >= {"frameworktrainingjobs", "pods", "services", "events"}
        assert space.job()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@newest_only
def test_a_restarted_operator_writes_nothing_about_running_jobs(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path
) -> None:
    with running_operator(server, tmp_path, namespace=space.name):
        space.submit()
        space.await_pods()
    before = space.job()
    with running_operator(server, tmp_path, namespace=space.name) as operator:
        kubelet.finish()
        space.await_phase("Succeeded")
        created = {key: n for key, n in operator.requests().items() if key[:2] == ("create", "pods")}
    assert created == {}
    assert all(len(uids) == 1 for uids in kubelet.born.values())
    assert before["status"]["startTime"] == space.job()["status"]["startTime"]


@newest_only
@pytest.mark.parametrize(("plural", "name"), [("services", "digits"), ("pods", "digits-worker-0-1")])
def test_a_strangers_object_is_left_alone(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path, plural: str, name: str
) -> None:
    spec = {
        "services": {"ports": [{"port": 80}]},
        "pods": {"containers": [{"name": "main", "image": "example/other"}]},
    }[plural]
    before = space.create(plural, {"metadata": {"name": name}, "spec": spec})
    with running_operator(server, tmp_path, namespace=space.name):
        space.submit()
        job = space.await_phase("Failed")
        after = space.get(plural, name)
    failed = next(c for c in job["status"]["conditions"] if c["type"] == "Failed")
    assert failed["reason"] == "NameConflict"
    assert name in failed["message"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@newest_only
def test_a_job_applied_again_waits_for_the_pods_of_the_earlier_one(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path
) -> None:
    with running_operator(server, tmp_path, namespace=space.name):
        space.submit()
        space.await_pods()
        space.delete("frameworktrainingjobs", "digits")
        uid = space.submit()["metadata"]["uid"]
        waiting = space.await_job(lambda job: "earlier job" in str(job.get("status")))
        assert waiting["status"]["phase"] == "Pending"
        # What the garbage collector would do.
        for name in space.pods():
            space.delete("pods", name)
        space.delete("services", "digits")
        space.await_pods()
    assert {pod["metadata"]["labels"]["ftjob.dev/uid"] for pod in space.pods().values()} == {uid}


@newest_only
def test_a_pod_that_the_api_server_does_not_understand_fails_the_job(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    container = {"name": "trainer", "image": "x", "command": ["python"], "resorces": {}}
    with running_operator(server, tmp_path, namespace=space.name):
        space.submit(template={"spec": {"containers": [container]}})
        job = space.await_phase("Failed")
    failed = next(c for c in job["status"]["conditions"] if c["type"] == "Failed")
    assert failed["reason"] == "InvalidSpec"
    assert "resorces" in failed["message"]
    assert space.pods() == {}


@newest_only
def test_half_a_job_is_taken_back_when_the_quota_refuses_the_rest(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path
) -> None:
    space.create("resourcequotas", {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}})
    _set_quota(space, hard=2)  # what the quota controller would do
    with running_operator(server, tmp_path, namespace=space.name):
        space.submit(workers=3)
        waiting = space.await_job(lambda job: "exceeded quota" in str(job.get("status")))
        assert waiting["status"]["phase"] == "Pending"
        gone = {name for name, uids in kubelet.born.items() if uids}
        space.await_job(lambda _: not space.pods())
        assert len(gone) <= 2
        space.patch("resourcequotas", "few", {"spec": {"hard": {"pods": "10"}}})
        _set_quota(space, hard=10)
        space.await_pods()
    assert len(space.pods()) == 3


def _set_quota(space: Namespace, *, hard: int) -> None:
    status = {"hard": {"pods": str(hard)}, "used": {"pods": "0"}}
    space.patch("resourcequotas", "few", {"status": status}, "status")


@newest_only
def test_a_mistake_with_one_job_does_not_stop_the_others(
    server: ApiServer, space: Namespace, kubelet: Kubelet, tmp_path: Path
) -> None:
    with running_operator(server, tmp_path, namespace=space.name) as operator:
        space.submit("odd")
        # Only a foreign hand writes this: no RFC 3339 time.
        space.patch("frameworktrainingjobs", "odd", {"status": {"startTime": "yesterday"}}, "status")
        space.submit("even")
        space.await_pods("even")
        assert operator.process.poll() is None
