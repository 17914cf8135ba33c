"""A job's NetworkPolicy where the network enforces it: kube-router, beside the network of the cluster."""

from __future__ import annotations

import secrets
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import wait_for
from support.cluster import ROOT, Cluster, job, pods_of
from support.scenario import HELD, let_go

from ftjob.plan.layout import agent_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(1800)  # kube-router is built first

PORT = 5000
"""Of what stands for a framework's server in rank 0."""

PROGRAM = f"""
import http.server, os, socket, threading, time
if os.environ["FTJOB_INDEX"] == "0":
    server = http.server.HTTPServer(("", {PORT}), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
else:
    leader = socket.gethostname().removesuffix("-1") + "-0"
    service = os.environ["FTJOB_JOB"]
    for _ in range(300):
        try:
            socket.create_connection((f"{{leader}}.{{service}}", {PORT}), timeout=1).close()
            break
        except OSError:
            time.sleep(0.2)
    else:
        raise SystemExit("my own peer does not let me in")
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
    file.write('{{"step": 7}}\\n')
{HELD}
"""
"""Rank 1 goes to rank 0, and both wait: the job runs on only if its own pods reach each other."""

KNOCK = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
        print("open")
    except OSError:
        print("shut")
"""


def script(name: str, *args: str) -> None:
    subprocess.run([str(ROOT / "tests" / "kind" / name), *args], check=True, timeout=1800)


@pytest.fixture(scope="module")
def enforced() -> Iterator[None]:
    """A network that enforces policies."""
    try:
        script("enforcer.sh", "up")
        yield
    finally:
        script("enforcer.sh", "down")


@pytest.fixture
def asked_for(enforced: None) -> Iterator[None]:
    """The chart with `networkPolicy: Job`."""
    try:
        script("install.sh", "--set", "networkPolicy=Job")
        yield
    finally:
        script("install.sh")


def stranger(name: str, command: list[str]) -> dict[str, Any]:
    """Return a pod that belongs to no job."""
    spec = job(name, command)["spec"]["template"]["spec"]
    spec["restartPolicy"] = "Never"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def answers(cluster: Cluster, *places: str) -> list[str]:
    """Return what a new pod finds at each place: an open port or a shut one."""
    name = f"stranger-{secrets.token_hex(3)}"
    cluster.apply(stranger(name, ["python3", "-c", KNOCK, *places]))
    cluster.until("pod", name, "{.status.phase}=Succeeded")
    return cluster.kubectl("logs", name).split()


def held(cluster: Cluster, name: str) -> list[str]:
    """Run a job of two workers up to its first step; return what strangers would like to reach."""
    cluster.apply(job(name, ["python3", "-c", PROGRAM], workers=2))
    # Told by the leader to the operator, which has thus been let in.
    cluster.until("ftj", name, "{.status.progress.step}=7")
    pods = pods_of(cluster, name)
    address = next(p["status"]["podIP"] for p in pods if p["metadata"]["labels"]["ftjob.dev/index"] == "0")
    uid = cluster.get("ftj", name)["metadata"]["uid"]
    return [f"{address}:{PORT}", f"{address}:{agent_port(uid)}"]


def end(cluster: Cluster, name: str) -> None:
    for pod in pods_of(cluster, name):
        let_go(cluster, pod["metadata"]["name"])
    assert cluster.finished(name)["status"]["phase"] == "Succeeded"


def test_without_policies_every_pod_comes_in(enforced: None, cluster: Cluster, elsewhere: Cluster) -> None:
    places = held(cluster, "unasked")
    assert answers(cluster, *places) == ["open", "open"]
    assert answers(elsewhere, *places) == ["open", "open"]
    end(cluster, "unasked")


def test_only_its_own_pods_and_the_operator_reach_a_job(
    asked_for: None, cluster: Cluster, elsewhere: Cluster
) -> None:
    places = held(cluster, "walled")
    wait_for(lambda: answers(cluster, *places) == ["shut", "shut"], "rules in the node", 60)
    assert answers(elsewhere, *places) == ["shut", "shut"]
    # The walls stand around this job alone: others of the namespace are reached as ever.
    cluster.apply(stranger("open-house", ["python3", "-m", "http.server", str(PORT)]))
    other = cluster.until("pod", "open-house", "{.status.phase}=Running")["status"]["podIP"]
    wait_for(lambda: answers(cluster, f"{other}:{PORT}") == ["open"], "a server", 60)
    end(cluster, "walled")
