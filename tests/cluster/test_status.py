"""`ftjob status` of jobs in real trouble, with nodes and the scheduler: all at once, looked at together."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import CONTEXT, Cluster, job

from ftjob.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_SECONDS = 120
SLEEP = ["python3", "-c", "import time; time.sleep(600)"]
CAUSES = {
    "image": ({"ErrImagePull", "ImagePullBackOff"}, "registry.invalid/nosuch:1"),
    "mount": ({"FailedMount"}, 'configmap "nosuch" not found'),
    "quota": ({"CreationForbidden"}, "exceeded quota: gpus"),
    "gpu": ({"Unschedulable"}, "Insufficient nvidia.com/gpu"),
    "taint": ({"Unschedulable"}, "untolerated taint"),
    "oom": ({"OOMKilled"}, "failed with exit code 137"),
    "exception": ({"Exception"}, "ValueError: the rate is negative"),
    "claim": ({"ClaimMissing"}, "there is no claim nosuch in this namespace"),
    "unbound": ({"ProvisioningFailed"}, 'storageclass.storage.k8s.io "nosuch" not found'),
}
"""Reasons, and what is in the first sentence."""


def jobs() -> Iterator[dict[str, Any]]:
    def changed(name: str, command: list[str] = SLEEP, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        body = job(name, command)
        body["spec"] |= spec
        (trainer,) = body["spec"]["template"]["spec"]["containers"]
        return body, trainer

    image, trainer = changed("image")
    trainer["image"] = "registry.invalid/nosuch:1"
    mount, trainer = changed("mount")
    trainer["volumeMounts"] = [{"name": "settings", "mountPath": "/settings"}]
    volume = {"name": "settings", "configMap": {"name": "nosuch"}}
    mount["spec"]["template"]["spec"]["volumes"] = [volume]
    quota, trainer = changed("quota")
    trainer["resources"]["limits"] = {"amd.com/gpu": "1"}
    gpu, trainer = changed("gpu")
    trainer["resources"]["limits"] = {"nvidia.com/gpu": "1"}
    taint, _ = changed("taint")
    taint["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "ftjob-control-plane"}
    oom, trainer = changed("oom", ["python3", "-c", "b'x' * (1 << 30)"])
    trainer["resources"]["limits"] = {"memory": "96Mi"}
    exception, _ = changed("exception", ["python3", "-c", "raise ValueError('the rate is negative')"])
    claim, _ = changed("claim", outputs={"claimName": "nosuch"})
    unbound, _ = changed("unbound", outputs={"storageClassName": "nosuch"})
    yield from (image, mount, quota, gpu, taint, oom, exception, claim, unbound)


@pytest.fixture(scope="module")
def troubled(cluster: Cluster) -> Cluster:
    hard = {"requests.amd.com/gpu": "0"}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus"},
        "spec": {"hard": hard},
    }
    cluster.apply(quota)
    cluster.until("resourcequota", "gpus", "{.status.hard}")
    cluster.apply(*jobs())
    return cluster


@pytest.mark.parametrize("name", CAUSES)
def test_the_first_sentence_names_the_cause(
    troubled: Cluster, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    reasons, words = CAUSES[name]
    there = ["-n", troubled.namespace, "--context", CONTEXT]
    deadline = time.monotonic() + LOOK_SECONDS
    said: dict[str, Any] = {}
    while (said.get("cause") or {}).get("reason") not in reasons and time.monotonic() < deadline:
        assert main(["status", name, *there, "-o", "json"]) == 0
        said = json.loads(capsys.readouterr().out)
        time.sleep(0.5)
    assert said["cause"]["reason"] in reasons, said["says"]
    assert words in said["says"]
    assert said["cause"]["remedy"]
    assert said["notRead"] == []
    assert main(["status", name, *there]) == 0
    assert words in capsys.readouterr().out.splitlines()[0]
