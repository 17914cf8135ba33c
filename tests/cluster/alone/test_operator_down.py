"""What happens to jobs while no operator runs, and is found by the next one."""

from __future__ import annotations

import time

from support.cluster import RESTRICTED_CONTAINER, Cluster
from support.scenario import delete_and_look, finished_pod_deleted, no_operator, restarts, scenario


def test_a_finished_workers_pod_may_be_deleted_while_nobody_looks(cluster: Cluster) -> None:
    finished_pod_deleted(cluster, "early", no_operator())


ASK = (
    "import socket, sys\ntry:\n    print(socket.gethostbyname(sys.argv[1]))\nexcept OSError:\n    print('no')"
)


def test_agents_ask_again_for_names_that_dns_says_do_not_exist(cluster: Cluster) -> None:
    """Without its Service no worker has a name; it comes back while the agents look for each other."""
    made = scenario("unheard", "print('done')")
    made["spec"]["template"]["spec"]["initContainers"] = [
        {
            "name": "wait",
            "image": "ftjob-test-base:dev",
            "command": ["sh", "-c", "until [ -e /tmp/go ]; do sleep 0.2; done"],
            "securityContext": RESTRICTED_CONTAINER,
        }
    ]
    cluster.apply(made)
    pods = [f"unheard-worker-0-{index}" for index in range(2)]
    for pod in pods:
        started = '{.status.initContainerStatuses[?(@.name=="wait")].state.running.startedAt}'
        cluster.until("pod", pod, started)
    with no_operator():
        cluster.kubectl("delete", "service", "unheard")
        for pod in pods:
            deadline = time.monotonic() + 60
            while ask(cluster, pod, "unheard-worker-0-0.unheard") != "no":
                assert time.monotonic() < deadline, "the name stays known"
                time.sleep(1)
            cluster.kubectl("exec", pod, "-c", "wait", "--", "touch", "/tmp/go")
        time.sleep(10)  # the agents ask and are told no
    ended = cluster.finished("unheard", seconds=120)
    assert ended["status"]["phase"] == "Succeeded"
    assert restarts(ended) == (0, 0, 0)
    delete_and_look(cluster, "unheard")


def ask(cluster: Cluster, pod: str, name: str) -> str:
    """Return the address of a name as a pod is told it, or ``no``."""
    return cluster.kubectl("exec", pod, "-c", "wait", "--", "python3", "-c", ASK, name).strip()
