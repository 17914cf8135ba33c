from __future__ import annotations

import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.cluster import CONTEXT, Cluster, environment_claim, programs_map

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.hookimpl(wrapper=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Have one process run all tests of a file, but for those that need the whole machine."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    yield


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
