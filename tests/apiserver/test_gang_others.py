"""Volcano and the coscheduling plugin: their real CRDs; what their schedulers would do, the test does."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apiserver import GANGS, NEWEST, OLDEST, ApiServer, running_api_server
from support.control_cluster import Namespace, running_kubelet, running_operator, watch
from support.crds import install

VOLCANO = "podgroups.scheduling.volcano.sh"
COSCHEDULING = "podgroups.scheduling.x-k8s.io"


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """All three kinds named PodGroup are served by the newest one."""
    flags = GANGS if request.param == NEWEST else ()
    with running_api_server(request.param, tmp_path_factory.mktemp("others"), *flags) as running:
        install(running, "volcano", "coscheduling")
        yield running


@pytest.mark.parametrize(
    ("mode", "plural", "spec"),
    [
        ("Volcano", VOLCANO, {"minMember": 2, "queue": "team-a"}),
        ("Coscheduling", COSCHEDULING, {"minMember": 2, "scheduleTimeoutSeconds": 300}),
    ],
)
def test_a_gang_of_another_scheduler(
    server: ApiServer, space: Namespace, tmp_path: Path, mode: str, plural: str, spec: dict[str, Any]
) -> None:
    scheduling = {"gang": mode, "timeoutSeconds": 300} | ({"queue": "team-a"} if mode == "Volcano" else {})
    with (
        running_kubelet(server, space.name) as kubelet,
        running_operator(server, tmp_path, namespace=space.name),
    ):
        space.submit(workers=2, scheduling=scheduling)
        assert space.await_pods()["status"]["gang"] == mode
        (group,) = space.list(plural)
        assert group["metadata"]["name"] == "digits-0"
        assert spec.items() <= group["spec"].items()
        for pod in space.pods().values():
            if mode == "Volcano":
                assert pod["spec"]["schedulerName"] == "volcano"
                assert pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == "digits-0"
            else:
                assert pod["spec"]["schedulerName"] == "default-scheduler"
                assert pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "digits-0"
            assert "schedulingGroup" not in pod["spec"]
        kubelet.finish()
        space.await_phase("Succeeded")
        for _ in range(300):
            if not space.list(plural):
                return
            threading.Event().wait(0.1)
    raise AssertionError("the PodGroup outlives its attempt")


def test_volcano_s_words_are_in_the_status(server: ApiServer, space: Namespace, tmp_path: Path) -> None:
    with running_operator(server, tmp_path, namespace=space.name):
        space.submit(workers=2, scheduling={"gang": "Volcano", "timeoutSeconds": 5})
        for _, group in watch(space, VOLCANO):
            name = group["metadata"]["name"]
            break
        words = "2/2 tasks in gang unschedulable: pod group is not ready, 2 Pending, 2 minAvailable"
        condition = {
            "type": "Unschedulable",
            "status": "True",
            "reason": "NotEnoughResources",
            "message": words,
        }
        # Their CRD has no status subresource.
        space.patch(VOLCANO, name, {"status": {"phase": "Pending", "conditions": [condition]}})
        space.await_job(lambda job: words in str(job["status"]["conditions"]))
        job = space.await_phase("Failed")
        (failed,) = [c for c in job["status"]["conditions"] if c["type"] == "Failed"]
        assert failed["reason"] == "StartTimeout"
        assert words in failed["message"]
