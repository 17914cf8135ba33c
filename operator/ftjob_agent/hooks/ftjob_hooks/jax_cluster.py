"""Tell JAX who a rank is, so that `jax.distributed.initialize()` needs no arguments.

JAX itself reads the coordinator's address alone. The rest it takes from the first environment that it knows,
in the order of their declaration (jax/_src/clusters/cluster.py): Slurm's, Kubernetes' Indexed Jobs', ...
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_COORDINATOR, _COUNT, _ID = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def hook_clusters(module: ModuleType) -> None:
    """Declare an environment of ours, before any of JAX' own."""
    base: Any = module.ClusterEnv

    class FtjobCluster(base):  # type: ignore[misc]
        """A worker of ftjob; JAX' versions differ in what they pass, so each method takes anything."""

        name = "ftjob"

        @classmethod
        def is_env_present(cls, *_args: Any, **_options: Any) -> bool:
            return all(name in os.environ for name in (_COORDINATOR, _COUNT, _ID)) and not _has_tpu()

        @classmethod
        def get_coordinator_address(cls, *_args: Any, **_options: Any) -> str:
            return os.environ[_COORDINATOR]

        @classmethod
        def get_process_count(cls, *_args: Any, **_options: Any) -> int:
            return int(os.environ[_COUNT])

        @classmethod
        def get_process_id(cls, *_args: Any, **_options: Any) -> int:
            return int(os.environ[_ID])


def _has_tpu() -> bool:
    """Whether JAX has found itself on a TPU host, where it numbers processes as the chips are wired."""
    found = sys.modules.get("jax._src.cloud_tpu_init")
    return bool(getattr(found, "running_in_cloud_tpu_vm", False))
