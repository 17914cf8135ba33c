from __future__ import annotations

import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.cluster import CONTEXT, Cluster, environment_claim, programs_map

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A namespace that enforces Pod Security restricted, gone after the module's tests."""
    name = f"ftjob-test-{secrets.token_hex(4)}"
    subprocess.run(["kubectl", "--context", CONTEXT, "create", "namespace", name], check=True)
    try:
        level = "pod-security.kubernetes.io/enforce=restricted"
        subprocess.run(["kubectl", "--context", CONTEXT, "label", "namespace", name, level], check=True)
        yield Cluster(name)
    finally:
        command = ["kubectl", "--context", CONTEXT, "delete", "namespace", name, "--wait=false"]
        subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def frameworks(cluster: Cluster) -> Cluster:
    """The same namespace with torch, TensorFlow, Horovod and the training loops to mount."""
    cluster.apply(environment_claim(), programs_map())
    return cluster
