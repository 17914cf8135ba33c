"""Nodes that are lost: killed, or cut off from the network while their pods run on."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import wait_for
from support.cluster import CONTEXT, Cluster, conditions, pods_of
from support.scenario import HEARTBEATS, delete_and_look, history, scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)

LOST = "ftjob-worker2"


def docker(*args: str) -> str:
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True, timeout=120).stdout


def kubectl(*args: str) -> str:
    command = ["kubectl", "--context", CONTEXT, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


@contextmanager
def killed() -> Iterator[None]:
    """Have the node dead while the block runs."""
    docker("kill", LOST)
    try:
        yield
    finally:
        docker("start", LOST)
        back()


@contextmanager
def cut_off() -> Iterator[None]:
    """Have the node without a network while the block runs; its pods run on."""
    both = [("INPUT", "-i"), ("OUTPUT", "-o"), ("FORWARD", "-i"), ("FORWARD", "-o")]
    for chain, way in both:
        docker("exec", LOST, "iptables", "-I", chain, way, "eth0", "-j", "DROP")
    try:
        yield
    finally:
        for chain, way in both:
            docker("exec", LOST, "iptables", "-D", chain, way, "eth0", "-j", "DROP")
        back()


def back() -> None:
    """Wait until the node takes pods again."""
    kubectl("wait", "--for=condition=Ready", f"node/{LOST}", "--timeout=180s")
    deadline = time.monotonic() + 120
    while json.loads(kubectl("get", "node", LOST, "-o", "json"))["spec"].get("taints"):
        assert time.monotonic() < deadline, "the node keeps its taints"
        time.sleep(1)


def not_ready_since() -> float:
    """Return when the node was marked as lost, in Unix seconds."""
    node = json.loads(kubectl("get", "node", LOST, "-o", "json"))
    [ready] = [c for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert ready["status"] == "Unknown", ready
    return datetime.fromisoformat(ready["lastTransitionTime"]).timestamp()


def beats(folder: Path, attempt: int) -> list[float]:
    """Return the times at which ranks of an attempt wrote into the shared volume."""
    lines = [line for file in folder.glob(f"beats-{attempt}-*") for line in file.read_text().split()]
    return sorted(map(float, lines))


def spread(made: dict[str, Any], name: str) -> dict[str, Any]:
    """Put the workers on different nodes, if there are such."""
    labels = {"matchLabels": {"ftjob.dev/job": name}}
    made["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": labels,
        }
    ]
    return made


@pytest.mark.parametrize("loss", [killed, cut_off], ids=lambda loss: str(loss.__name__))
def test_a_job_goes_on_elsewhere_and_never_twice_at_once(cluster: Cluster, loss: Any) -> None:
    name = f"node-{loss.__name__.replace('_', '-')}"
    made = spread(scenario(name, HEARTBEATS, outputs={}), name)
    # As jobs have that want GPU nodes whatever their taints are.
    made["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists", "effect": "NoExecute"}]
    made["spec"]["restart"]["limit"] = 0
    cluster.apply(made)
    cluster.until("ftj", name, "{.status.phase}=Running")
    assert {pod["spec"]["nodeName"] for pod in pods_of(cluster, name)} == {"ftjob-worker", LOST}
    folder = cluster.outputs_of(cluster.get("ftj", name))
    wait_for(lambda: len(list(folder.glob("beats-0-*"))) == 2, "ranks: before agents meet there are none")
    with history(cluster, name) as seen, loss():
        kubectl("wait", "--for=condition=Ready=Unknown", f"node/{LOST}", "--timeout=180s")
        lost = not_ready_since()
        cluster.until("ftj", name, "{.status.podAttempt}=1", seconds=120)
        cluster.until("ftj", name, "{.status.phase}=Running", seconds=120)
        took = time.time() - lost
        print(f"{name}: all workers ran again at most {took:.0f} s after the node was marked as lost")
        ended = cluster.finished(name)
        nodes = {p["spec"]["nodeName"] for p in pods_of(cluster, name) if "-1-" in p["metadata"]["name"]}
        assert LOST not in nodes
    seen.check()
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    assert ended["status"]["restarts"]["disruptions"] == 1
    assert ended["status"]["restarts"]["failures"] == 0
    assert seen.reasons[0] in {"NodeLost", "DeletionByTaintManager"}, seen.reasons
    assert conditions(ended)["Succeeded"]["status"] == "True"
    first, second = beats(folder, 0), beats(folder, 1)
    assert first
    assert second
    assert first[-1] < second[0], "two attempts have written to the same volume at once"
    delete_and_look(cluster, name)
