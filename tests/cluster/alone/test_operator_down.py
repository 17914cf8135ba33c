"""What happens to jobs while no operator runs, and is found by the next one."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from support.agent_runs import wait_for
from support.cluster import RESTRICTED_CONTAINER, Cluster, job
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


def order(cluster: Cluster, capture: str, steps: int, *phases: str) -> None:
    """Ask for a capture, and wait until it has come to one of these phases."""
    wanted = json.dumps({"id": capture, "steps": steps})
    cluster.kubectl("annotate", "ftj", "cut", f"ftjob.dev/capture={wanted}", "--overwrite")
    wait_for(lambda: entry(cluster, capture).get("phase") in phases, f"{capture} to be {phases}", 120)


def entry(cluster: Cluster, capture: str) -> dict[str, Any]:
    """Return what status says of a capture."""
    captures = cluster.get("ftj", "cut")["status"].get("profile", {}).get("captures", [])
    return next((found for found in captures if found["id"] == capture), {})


def test_a_capture_ends_without_the_operator_and_one_whose_worker_is_lost_meanwhile_is_named(
    frameworks: Cluster,
) -> None:
    go = "/ftjob/outputs/go"
    script = f"touch {go}; exec python3 /programs/capture_torch.py {go}"
    made = job("cut", ["sh", "-c", script], strategy="Torchrun", workers=2, frameworks=True)
    made["spec"] |= {"outputs": {"size": "1Gi"}, "restart": {"limit": 1, "backoffSeconds": 0}}
    frameworks.apply(made)
    running = frameworks.until("ftj", "cut", "{.status.phase}=Running", seconds=240)
    outputs = frameworks.outputs_of(running)
    order(frameworks, "c1", 500, "Capturing")
    with no_operator():
        wait_for(
            lambda: len(list(outputs.glob("captures/c1/raw/*/done.json"))) == 2, "the end of the capture", 120
        )
    wait_for(lambda: entry(frameworks, "c1").get("report"), "the report", 120)
    assert entry(frameworks, "c1")["ranks"] == "2/2"
    order(frameworks, "c2", 1000, "Capturing")
    with no_operator():
        frameworks.kubectl("delete", "pod", "cut-worker-0-1", "--force", "--grace-period=0")
    frameworks.until("ftj", "cut", "{.status.attempt}=1")
    cut = entry(frameworks, "c2")
    assert cut["phase"] in {"Failed", "Partial"}, cut
    assert re.search(r"(worker|rank)[ -](0-)?1\b", cut["reason"]), cut
    frameworks.until("ftj", "cut", "{.status.phase}=Running", seconds=240)
    order(frameworks, "c3", 3, "Ready", "Partial")  # on busy nodes a rank may hear of it late
    assert entry(frameworks, "c2") == cut
    frameworks.kubectl("exec", "cut-worker-1-0", "-c", "trainer", "--", "rm", go)
    assert frameworks.finished("cut")["status"]["phase"] == "Succeeded"
