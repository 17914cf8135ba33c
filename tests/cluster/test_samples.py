"""Every sample manifest in the cluster: each strategy's ranks really work together, each program ends well.

The Horovod sample has a file of its own. Images of torch have 7 GB and more where there is no CPU build
of it, too much for every node: those samples run in the slim image, with the same packages mounted.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import (
    CONTEXT,
    SAMPLES,
    Cluster,
    every_rank_alone,
    in_test_environment,
    pods_of,
    sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(1500)  # the jobs themselves are given up before

ELSEWHERE = {"horovod-digits", "plain-hello"}
ELASTIC = {"horovod-elastic-digits", "transformer-lm-elastic"}
TOGETHER = {
    "horovod-torch-digits": 4,
    "image-folder": 2,
    "jax-digits": 2,
    "multiworker-digits": 2,
    "transformer-lm": 4,
}
"""Samples whose ranks are one training, and how many ranks they have."""
SHORT = {
    **dict.fromkeys(TOGETHER, ("--steps=3", "--min-accuracy=0")),
    "image-folder": ("--epochs=1", "--min-accuracy=0"),
}
"""Options with which each rank of them ends well by itself, and soon."""
TPU = {"tpu-tensorflow": 1, "tpu-torch": 2}
PARAMETER_SERVER = "parameter-server-digits"
ALONE = sorted(
    {path.stem for path in SAMPLES.glob("*.yaml")}
    - ELSEWHERE
    - ELASTIC
    - set(TOGETHER)
    - set(TPU)
    - {PARAMETER_SERVER}
)
SMOKE = ("hybrid-vision", "mirrored-digits")
"""Those of an image, and of a strategy, that no sample of several pods has."""
FULL = bool(os.environ.get("FTJOB_ALL_SAMPLES"))
NODES = ("ftjob-worker", "ftjob-worker2")
CHIPS = 4


def submit(cluster: Cluster, name: str) -> None:
    cluster.apply(in_test_environment(sample(f"{name}.yaml")))


def succeeded(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """Wait for a job's success; return what its ranks have written, in their order."""
    job = cluster.finished(name, seconds=900)
    assert job["status"]["phase"] == "Succeeded", (name, job["status"].get("failure"))
    files = sorted((cluster.outputs_of(job) / "results").rglob("result-rank-*.json"))
    return [json.loads(file.read_text()) for file in files]


def check_one_training(results: list[dict[str, Any]], ranks: int) -> None:
    """See that the ranks have worked together: each has heard of all, and all have the same weights."""
    assert len(results) == ranks
    assert {result["rankSum"] for result in results} == {ranks * (ranks + 1) / 2}
    weights = [result["finalWeights"] for result in results]  # a rank's own, or what it has gathered of all
    assert len({each for told in weights for each in (told if isinstance(told, list) else [told])}) == 1


@pytest.mark.parametrize("name", TOGETHER)
def test_the_ranks_of_a_sample_are_one_training_on_two_nodes(frameworks: Cluster, name: str) -> None:
    submit(frameworks, name)
    check_one_training(succeeded(frameworks, name), TOGETHER[name])
    assert {pod["spec"]["nodeName"] for pod in pods_of(frameworks, name)} == set(NODES)
    frameworks.kubectl("delete", "ftj", name, "--wait=false")


def alone(name: str) -> dict[str, Any]:
    """Return a sample's mutant, which is over soon."""
    return every_rank_alone(in_test_environment(sample(f"{name}.yaml")), *SHORT.get(name, ()))


def test_ranks_that_are_alone_fail_that_check(frameworks: Cluster) -> None:
    frameworks.apply(*map(alone, (*SHORT, PARAMETER_SERVER)))
    for name in SHORT:
        results = succeeded(frameworks, f"{name}-alone")
        for result in results:
            check_one_training([result], 1)
        with pytest.raises(AssertionError, match=r"^assert \{1"):
            check_one_training(results, 2)
        frameworks.kubectl("delete", "ftj", f"{name}-alone", "--wait=false")
    # Its workers and servers are nothing without each other.
    failed = frameworks.finished(f"{PARAMETER_SERVER}-alone")
    assert failed["status"]["phase"] == "Failed"
    assert "TF_CONFIG names no chief" in failed["status"]["failure"]["message"]


def test_parameter_servers_hold_what_every_worker_changes(frameworks: Cluster) -> None:
    submit(frameworks, PARAMETER_SERVER)
    [result] = succeeded(frameworks, PARAMETER_SERVER)
    assert all(steps > 0 for steps in result["stepsOfWorker"])
    assert all(device.startswith("/job:ps/") for device in result["devices"].values())
    job = frameworks.get("ftj", PARAMETER_SERVER)
    assert {role["name"]: role["desired"] for role in job["status"]["roles"]} == {
        "chief": 1,
        "worker": 2,
        "ps": 1,
    }
    deadline = time.monotonic() + 90
    while living := [
        pod["metadata"]["name"]
        for pod in pods_of(frameworks, PARAMETER_SERVER)
        if pod["status"]["phase"] in {"Pending", "Running"}
    ]:
        assert time.monotonic() < deadline, f"the others are stopped when the chief has succeeded: {living}"
        time.sleep(1)


@pytest.fixture
def tpu_nodes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nodes that claim to be hosts of a slice: the scheduler counts their chips, and nobody else looks."""
    topology = request.param

    def kubectl(*args: str) -> None:
        subprocess.run(["kubectl", "--context", CONTEXT, *args], check=True, timeout=60)

    labels = {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": topology,
        "cloud.google.com/gke-nodepool": f"tpu-{topology}",
    }
    try:
        for node in NODES:
            capacity = json.dumps({"status": {"capacity": {"google.com/tpu": str(CHIPS)}}})
            kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", capacity)
            kubectl("label", "node", node, "--overwrite", *(f"{k}={v}" for k, v in labels.items()))
        yield
    finally:
        for node in NODES:
            kubectl("label", "node", node, *(f"{key}-" for key in labels))
            gone = json.dumps({"status": {"capacity": {"google.com/tpu": None}}})
            kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", gone)


@pytest.mark.parametrize("tpu_nodes", ["2x2"], indirect=True)
def test_a_tpu_job_lands_where_the_chips_are(frameworks: Cluster, tpu_nodes: None) -> None:
    submit(frameworks, "tpu-tensorflow")
    frameworks.until("ftj", "tpu-tensorflow", "{.status.phase}=Running", seconds=180)
    pod = frameworks.get("pod", "tpu-tensorflow-worker-0-0")
    assert pod["spec"]["nodeName"] in NODES
    [trainer] = pod["spec"]["containers"]
    assert trainer["resources"]["limits"]["google.com/tpu"] == str(CHIPS)
    [result] = succeeded(frameworks, "tpu-tensorflow")
    assert result["device"] == "CPU", "no chip answers here, and the program has said so"
    assert said_no_tpu(frameworks, "tpu-tensorflow-worker-0-0") == 1


@pytest.mark.parametrize("tpu_nodes", ["2x4"], indirect=True)
def test_a_tpu_job_of_two_hosts_is_on_both(frameworks: Cluster, tpu_nodes: None) -> None:
    submit(frameworks, "tpu-torch")
    results = succeeded(frameworks, "tpu-torch")
    assert results[0]["device"] == "CPU"
    pods = [
        p for p in frameworks.items("pods") if p["metadata"]["labels"].get("ftjob.dev/job") == "tpu-torch"
    ]
    assert {pod["spec"]["nodeName"] for pod in pods} == set(NODES)
    assert said_no_tpu(frameworks, "tpu-torch-worker-0-0") == 1


def said_no_tpu(cluster: Cluster, pod: str) -> int:
    """Return how many lines of a pod's log say that there is no TPU."""
    log = cluster.kubectl("logs", pod, "-c", "trainer")
    return len([line for line in log.splitlines() if "no TPU" in line])


@pytest.mark.parametrize("name", SMOKE)
def test_a_sample_of_one_pod_ends_well_in_smoke_size(frameworks: Cluster, name: str) -> None:
    small = in_test_environment(sample(f"{name}.yaml"))
    small["spec"]["template"]["spec"]["containers"][0]["command"].append("--smoke")
    frameworks.apply(small)
    assert succeeded(frameworks, name)
    frameworks.kubectl("delete", "ftj", name, "--wait=false")


@pytest.mark.skipif(
    not FULL,
    reason="ten minutes: `make test-samples` runs them here, tests/workloads the programs",
)
def test_the_samples_of_one_pod_end_well(frameworks: Cluster) -> None:
    assert ALONE
    for name in ALONE:
        submit(frameworks, name)
    for name in ALONE:
        assert succeeded(frameworks, name), name
        frameworks.kubectl("delete", "ftj", name, "--wait=false")
