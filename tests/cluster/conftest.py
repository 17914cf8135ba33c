from __future__ import annotations

import secrets
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import CONTEXT, Cluster, environment_claim, programs_map
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator


TRAINING = ("elastic", "failing_rank", "horovod_sample", "insight", "samples")
"""Tests whose ranks import frameworks and train, on both cores, for most of their time."""


class OneTrainingAtATime(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives each process whole files, and one of them all that train; the others run small jobs beside it."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "training" if Path(file).stem.removeprefix("test_") in TRAINING else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return OneTrainingAtATime(config, log)


@contextmanager
def namespace() -> Iterator[Cluster]:
    """Give a new namespace, gone after the block."""
    name = f"ftjob-test-{secrets.token_hex(4)}"
    kubectl = ["kubectl", "--context", CONTEXT]
    subprocess.run([*kubectl, "create", "namespace", name], check=True)
    try:
        yield Cluster(name)
    finally:
        subprocess.run([*kubectl, "delete", "namespace", name, "--wait=false"], check=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A namespace that enforces Pod Security restricted, gone after the module's tests."""
    with namespace() as made:
        level = "pod-security.kubernetes.io/enforce=restricted"
        command = ["kubectl", "--context", CONTEXT, "label", "namespace", made.namespace, level]
        subprocess.run(command, check=True)
        yield made


@pytest.fixture
def elsewhere() -> Iterator[Cluster]:
    """Another namespace."""
    with namespace() as made:
        yield made


@pytest.fixture(scope="module")
def frameworks(cluster: Cluster) -> Cluster:
    """The same namespace with torch, TensorFlow, Horovod and the training loops to mount."""
    cluster.apply(environment_claim(), programs_map())
    return cluster
