"""Environment variables that decide who a rank is, and so are the operator's alone to set.

A stray ``WORLD_SIZE=1`` in a pod template is how distributed jobs silently run alone, so a template that
sets one of these is refused. For every other variable the user's value wins.
"""

from __future__ import annotations

IDENTITY_NAMES = (
    # torch.distributed
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    # tf.distribute
    "TF_CONFIG",
    # Horovod
    "HOROVOD_RANK",
    "HOROVOD_SIZE",
    "HOROVOD_LOCAL_RANK",
    "HOROVOD_LOCAL_SIZE",
    "HOROVOD_CROSS_RANK",
    "HOROVOD_CROSS_SIZE",
    "HOROVOD_HOSTNAME",
    "HOROVOD_GLOO_RENDEZVOUS_ADDR",
    "HOROVOD_GLOO_RENDEZVOUS_PORT",
    "HOROVOD_CONTROLLER",
    # jax.distributed
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
    # TPU hosts of one slice
    "TPU_WORKER_ID",
    "TPU_WORKER_HOSTNAMES",
    # Kubernetes' own name for the index of a pod
    "JOB_COMPLETION_INDEX",
)
"""Names that are known in full."""

IDENTITY_PREFIXES = ("FTJOB_", "PET_", "MEGASCALE_")
"""Beginnings of names: ours, torchrun's arguments, and multi-slice TPU's."""


def is_identity(name: str) -> bool:
    """Whether this variable is the operator's alone to set."""
    return name in IDENTITY_NAMES or name.startswith(IDENTITY_PREFIXES)
