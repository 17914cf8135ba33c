"""Restarts in place, as the API server sees them; the agent of index 0 is a fake, since nothing runs here."""

import threading
from pathlib import Path

import pytest
from support.agent_fake import running_agent, token_of
from support.apiserver import NEWEST, ApiServer
from support.control_cluster import Namespace, mortal_operator, running_kubelet, running_operator

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)

RESTART = {"limit": 1, "backoffSeconds": 0}
AT_THE_ORDER = 0
WRITES = 5
"""More than a restart in place takes: its count, Running, Succeeded, and Events."""


@pytest.mark.parametrize("write", range(AT_THE_ORDER, WRITES + 1))
def test_ranks_start_again_once_though_the_operator_dies_after_any_of_its_writes(
    server: ApiServer, space: Namespace, tmp_path: Path, write: int
) -> None:
    """The pods are the same, the restart is written down before the order, and counted once."""
    written = []

    def look_at_status() -> None:
        with server.client() as client:
            written.append(Namespace(client, space.name).job()["status"])
        if write == AT_THE_ORDER and len(running) == 1:
            running[0].process.kill()

    with running_kubelet(server, space.name) as kubelet:
        with running_operator(server, tmp_path, namespace=space.name):
            made = space.submit(workers=2, restart=RESTART)
            space.await_pods()
        space.let_have_run()
        with running_agent(made["metadata"]["uid"], token_of(made, space.list)) as agent:
            agent.on_order = look_at_status
            agent.fail(rank=1)
            with mortal_operator(server, tmp_path, space.name, write=write) as running:
                again = space.await_job(
                    lambda job: job["status"]["attempt"] == 1 and job["status"]["phase"] == "Running"
                )
                kubelet.finish()
                job = space.await_phase("Succeeded")
    assert agent.star.lives == 2
    assert set(agent.orders) == {("start", 1)}
    assert all((status["attempt"], status["restarts"]["failures"]) == (1, 1) for status in written)
    assert {name: len(uids) for name, uids in kubelet.born.items()} == {
        f"digits-worker-0-{index}": 1 for index in range(2)
    }
    failure = again["status"]["failure"]
    assert (failure["rank"], failure["pod"], failure["exitCode"]) == (1, "digits-worker-0-1", 137)
    assert (job["status"]["attempt"], job["status"].get("podAttempt", 0)) == (1, 0)
    assert (job["status"]["restarts"]["failures"], job["status"]["restarts"]["disruptions"]) == (1, 0)


def test_agents_that_may_not_start_again_are_told_to_end(
    server: ApiServer, space: Namespace, tmp_path: Path
) -> None:
    ordered = threading.Event()
    with running_kubelet(server, space.name) as kubelet:
        made = space.submit(workers=2, restart=RESTART | {"retryExitCodes": "3"})
        with (
            running_operator(server, tmp_path, namespace=space.name) as operator,
            running_agent(made["metadata"]["uid"], token_of(made, space.list)) as agent,
        ):
            agent.on_order = ordered.set
            space.await_phase("Running")
            agent.fail(rank=0)
            assert ordered.wait(60)
            kubelet.finish("*", 137)
            job = space.await_phase("Failed")
            metrics = operator.get("/metrics")[1]
    assert set(agent.orders) == {("end", 0)}
    assert job["status"]["restarts"]["failures"] == 0
    assert "ftjob_restart_lost_seconds_total 0.0" in metrics
