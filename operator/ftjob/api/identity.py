"""Environment variables that decide who a rank is, and so are the operator's alone to set.

A stray ``WORLD_SIZE=1`` in a pod template is how distributed jobs silently run alone, so a template that
sets one of these is refused. For every other variable the user's value wins.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """The variables of one framework."""

    owner: str
    names: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


FAMILIES = (
    Family(
        "torch.distributed",
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"),
        ("PET_",),  # torchrun's arguments
    ),
    Family("tf.distribute", ("TF_CONFIG",)),
    Family(
        "Horovod",
        (
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
        ),
    ),
    Family("jax.distributed", ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")),
    Family("TPU slices", ("TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES"), ("MEGASCALE_",)),
    # JOB_COMPLETION_INDEX is Kubernetes' own name for the index of a pod.
    Family("ftjob", ("JOB_COMPLETION_INDEX",), ("FTJOB_",)),
)

IDENTITY_NAMES = tuple(name for family in FAMILIES for name in family.names)
"""Names that are known in full."""

IDENTITY_PREFIXES = tuple(prefix for family in FAMILIES for prefix in family.prefixes)
"""Beginnings of names."""


def is_identity(name: str) -> bool:
    """Whether this variable is the operator's alone to set."""
    return name in IDENTITY_NAMES or name.startswith(IDENTITY_PREFIXES)
