"""The ConfigMap that brings the agent: other people's hands on it, and images that can't run the agent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.cluster import Cluster, job

if TYPE_CHECKING:
    from typing import Any


PAUSES = (3, 6, 12, 24)


def the_config_map(cluster: Cluster) -> dict[str, Any]:
    found = [
        each for each in cluster.items("configmaps") if each["metadata"]["name"].startswith("ftjob-agent-")
    ]
    assert len(found) == 1
    return found[0]


def test_a_config_map_that_somebody_replaced_runs_nothing_and_is_named(cluster: Cluster) -> None:
    cluster.apply(job("first", ["true"], workers=2))
    assert cluster.finished("first")["status"]["phase"] == "Succeeded"
    made = the_config_map(cluster)
    name = made["metadata"]["name"]
    assert made["immutable"] is True
    evil = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": dict.fromkeys(made["binaryData"], "import os; os._exit(0)"),
    }
    cluster.kubectl("delete", "ftj", "first")
    cluster.kubectl("delete", "configmap", name)
    cluster.apply(evil)
    # A kubelet keeps what is immutable until some seconds after the last pod that has it.
    for pause in PAUSES:
        time.sleep(pause)
        second = f"second-{pause}"
        cluster.apply(job(second, ["true"]))
        status = cluster.finished(second)["status"]
        cluster.kubectl("delete", "ftj", second)
        if status["phase"] == "Failed":
            break
    assert f"ConfigMap {name} holds another agent" in status["failure"]["message"]

    # The operator has just seen it: the pod waits until the operator looks again.
    cluster.kubectl("delete", "configmap", name)
    cluster.apply(job("third", ["true"]))
    assert cluster.finished("third")["status"]["phase"] == "Succeeded"
    assert the_config_map(cluster)["binaryData"] == made["binaryData"]
    cluster.kubectl("delete", "ftj", "third")


def test_an_image_without_python3_on_its_path_is_named(cluster: Cluster) -> None:
    wanted = job("bare", ["true"])
    trainer = wanted["spec"]["template"]["spec"]["containers"][0]
    trainer["env"] = [{"name": "PATH", "value": "/nowhere"}]
    cluster.apply(wanted)
    failure = cluster.finished("bare")["status"]["failure"]
    assert "no python3 on its PATH" in failure["message"]
    cluster.kubectl("delete", "ftj", "bare")
