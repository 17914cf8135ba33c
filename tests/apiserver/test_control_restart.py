"""Killed after any write, the next operator ends at the same: nothing twice, nothing missing."""

import threading
import uuid
from pathlib import Path

import pytest
from support.apiserver import NEWEST, ApiServer, Client
from support.control_cluster import Namespace, running_kubelet, running_operator

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

KILLED = 137
WRITES = 14
"""One life has about a dozen: key, start, Secret, Service, three pods, Events, Running, Succeeded."""


@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_an_operator_killed_after_a_write_is_continued_by_the_next(
    server: ApiServer, client: Client, tmp_path: Path, write: int
) -> None:
    name = f"restart-{uuid.uuid4().hex[:8]}"
    assert client.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
    space = Namespace(client, name)
    ended = threading.Event()

    def keep_running() -> None:
        environment = {"FTJOB_EXIT_AFTER_WRITE": str(write)}
        while not ended.is_set():
            with running_operator(
                server, tmp_path, "--no-leader-election", namespace=name, environment=environment
            ) as operator:
                while operator.process.poll() is None and not ended.wait(0.05):
                    pass
                if not ended.is_set():
                    assert operator.process.returncode == KILLED, operator.log.read_text()
            environment = {}

    space.submit(workers=3)
    thread = threading.Thread(target=keep_running)
    thread.start()
    try:
        with running_kubelet(server, name) as kubelet:
            space.await_phase("Running")
            kubelet.finish()
            job = space.await_phase("Succeeded")
    finally:
        ended.set()
        thread.join()
    assert {pod: len(uids) for pod, uids in kubelet.born.items()} == {
        f"digits-worker-0-{index}": 1 for index in range(3)
    }
    assert len(space.list("services")) == 1
    assert len(space.list("secrets")) == 2
    assert job["status"]["attempt"] == 0
    assert job["status"]["restarts"] == {"failures": 0, "disruptions": 0}
