"""Elastic jobs in the cluster: workers are added, by an autoscaler too, one is lost, and training goes on."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import Cluster, in_test_environment, pods_of, sample
from support.scenario import delete_and_look, history

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(900)

NAME = "horovod-elastic-digits"


def sizes(cluster: Cluster, pod: str) -> list[int]:
    """Return the sizes of the groups that a pod's first rank has been in, by its log."""
    log = cluster.kubectl("logs", pod, "-c", "trainer")
    return [int(size) for size in re.findall(r"rank \d+ of (\d+)", log)]


def wait_for_size(cluster: Cluster, pod: str, size: int, *, after: int = 0) -> int:
    """Wait until a pod's rank has come into a group of that size; return how many groups it has seen."""
    cluster.until("pod", pod, "{.status.phase}=Running")  # before, it has no log to ask for
    deadline = time.monotonic() + 180
    while True:
        seen = sizes(cluster, pod)
        if size in seen[after:]:
            return len(seen)
        assert time.monotonic() < deadline, f"no group of {size}: {seen}"
        time.sleep(1)


def elastic_digits() -> dict[str, Any]:
    """Return the sample, slow enough for workers to come and go while it trains."""
    made = in_test_environment(sample(f"{NAME}.yaml"))
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    [trainer] = made["spec"]["template"]["spec"]["containers"]
    trainer["command"] += ["--pause=0.8", "--epochs=5", "--min-accuracy=0"]
    return made


@contextmanager
def autoscaler(cluster: Cluster, *, least: int) -> Iterator[None]:
    """Have Kubernetes' autoscaler find too few workers; how busy they are nobody tells it here."""
    made = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}}
    target = {"apiVersion": "ftjob.dev/v1alpha1", "kind": "FrameworkTrainingJob", "name": NAME}
    cluster.apply(made | {"spec": {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": least}})
    try:
        yield
    finally:
        cluster.kubectl("delete", "hpa", NAME)


def test_workers_are_added_and_lost_and_every_sample_is_learned_from(frameworks: Cluster) -> None:
    frameworks.apply(elastic_digits())
    leader = f"{NAME}-worker-0-0"
    frameworks.until("ftj", NAME, "{.status.phase}=Running", seconds=180)
    groups = wait_for_size(frameworks, leader, 2)
    with history(frameworks, NAME) as seen:
        frameworks.kubectl("scale", f"ftj/{NAME}", "--replicas=3")
        groups = wait_for_size(frameworks, leader, 3, after=groups)
        with autoscaler(frameworks, least=4):
            groups = wait_for_size(frameworks, leader, 4, after=groups)
        assert frameworks.get("ftj", NAME)["spec"]["workers"] == 4
        frameworks.kubectl("delete", "pod", f"{NAME}-worker-0-2", "--wait=false")
        wait_for_size(frameworks, leader, 3, after=groups)
        ended = frameworks.finished(NAME, seconds=420)
    seen.check()
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    assert ended["status"]["attempt"] == 0
    assert ended["status"]["restarts"]["failures"] == 0
    assert "Restarting" not in seen.phases
    [file] = (frameworks.outputs_of(ended) / "results").glob("result-rank-*.json")
    result = json.loads(file.read_text())
    sizes_seen = iter(size for _, size in result["sizes"])  # workers may come one by one
    assert all(size in sizes_seen for size in (2, 4, 3)), result["sizes"]
    assert [step for step, _ in result["sizes"]] == sorted(step for step, _ in result["sizes"])
    for rows in result["epochs"]:
        counts = Counter(rows)
        assert len(counts) == result["samples"], "each sample once"
        assert sum(counts.values()) - result["samples"] < 4, "but for those that fill up the last batches"
    delete_and_look(frameworks, NAME)


def test_the_loss_of_index_0_restarts_the_attempt_and_is_not_counted(frameworks: Cluster) -> None:
    frameworks.apply(elastic_digits())
    frameworks.until("ftj", NAME, "{.status.phase}=Running", seconds=180)
    wait_for_size(frameworks, f"{NAME}-worker-0-1", 2)
    with history(frameworks, NAME) as seen:
        frameworks.kubectl("delete", "pod", f"{NAME}-worker-0-0", "--wait=false")
        wait_for_pods(frameworks, f"{NAME}-worker-1-0")
        wait_for_size(frameworks, f"{NAME}-worker-1-0", 2)
        status = frameworks.get("ftj", NAME)["status"]
    seen.check()
    assert status["attempt"] == 1
    assert status["restarts"]["failures"] == 0
    assert status["restarts"]["disruptions"] == 1
    delete_and_look(frameworks, NAME)


def wait_for_pods(cluster: Cluster, name: str) -> None:
    deadline = time.monotonic() + 120
    while not any(
        pod["metadata"]["name"] == name and pod["status"]["phase"] == "Running"
        for pod in pods_of(cluster, NAME)
    ):
        assert time.monotonic() < deadline, f"no pod {name}"
        time.sleep(1)
