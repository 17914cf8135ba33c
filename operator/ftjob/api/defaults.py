"""What a spec means where it says nothing. Pure, and the only place of this."""

from __future__ import annotations

from typing import Any

from ftjob.api.spec import JobSpec, StrategyName, SuccessPolicy
from ftjob.api.template import TRAINER

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
MIG_PREFIX = "nvidia.com/mig-"

ONE_PROCESS = frozenset(
    {StrategyName.MIRRORED, StrategyName.MULTI_WORKER_MIRRORED, StrategyName.PARAMETER_SERVER}
)
"""Strategies whose framework drives all devices of a pod from one process."""


def trainer_of(spec: JobSpec) -> dict[str, Any]:
    """Return the trainer: the container named ``trainer``, or the only one; empty if there is none."""
    containers = containers_of(spec.template)
    named = [container for container in containers if container.get("name") == TRAINER]
    return (named or (containers if len(containers) == 1 else []) or [{}])[0]


def containers_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a pod template."""
    return items(template.get("spec"), "containers")


def items(parent: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects in a list of a template; what is not there or no object is left out."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def gpus_of(container: dict[str, Any]) -> int:
    """Return how many GPUs (or MIG slices) a container asks for."""
    resources = container.get("resources")
    limits = resources.get("limits") if isinstance(resources, dict) else None
    if not isinstance(limits, dict):  # extended resources count only where they are limits
        return 0
    return sum(
        int(amount)
        for name, amount in limits.items()
        if (name in GPU_RESOURCES or name.startswith(MIG_PREFIX)) and str(amount).isdecimal()
    )


def workers_of(spec: JobSpec) -> int:
    """Return the number of pods of role worker."""
    return 1 if spec.workers is None else spec.workers


def processes_per_worker(spec: JobSpec) -> int:
    """Return the number of ranks in each worker."""
    if spec.strategy in ONE_PROCESS:
        return 1
    if spec.processes_per_worker is not None:
        return spec.processes_per_worker
    if spec.strategy in {StrategyName.JAX, StrategyName.TPU}:  # one process drives all chips of a host
        return 1
    return max(1, gpus_of(trainer_of(spec)))


def success_of(spec: JobSpec) -> SuccessPolicy:
    """Return which workers decide that the job has succeeded."""
    if spec.success is not None:
        return spec.success
    if spec.strategy is StrategyName.PARAMETER_SERVER:  # its other roles never end by themselves
        return SuccessPolicy.CHIEF
    return SuccessPolicy.ALL_WORKERS
