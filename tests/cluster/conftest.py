from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import CONTEXT, Cluster, environment_claim, programs_map
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator


TRAINING = ("elastic", "failing_rank", "horovod_sample", "samples")
"""Tests whose ranks import frameworks and train, on both cores, for most of their time."""


class OneTrainingAtATime(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives each process whole files, and one of them all that train; the others run small jobs beside it."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "training" if Path(file).stem.removeprefix("test_") in TRAINING else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return OneTrainingAtATime(config, log)


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
