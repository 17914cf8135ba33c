"""What holds where the user wrote nothing. Defaults live here, not in the schema: an API server that fills in
defaults rewrites stored objects whenever they change.
"""

from __future__ import annotations

from typing import Any

from ftjob.api.spec import JobSpec, StrategyName, SuccessPolicy

TRAINER = "trainer"
"""Name of the container that runs the ranks, unless it is the only one."""

GPU_PREFIXES = ("nvidia.com/gpu", "nvidia.com/mig-", "amd.com/gpu", "gpu.intel.com/")
"""Extended resources that count as GPUs; MIG resources by prefix (NVIDIA's k8s-device-plugin)."""

ONE_PROCESS = frozenset(
    {StrategyName.MIRRORED, StrategyName.MULTI_WORKER_MIRRORED, StrategyName.PARAMETER_SERVER}
)
"""Strategies whose single process drives all devices of its pod."""


def trainer_of(template: dict[str, Any]) -> dict[str, Any] | None:
    """Return the trainer container of a pod template, or None if it can't be told which one it is."""
    containers = ((template.get("spec") or {}).get("containers")) or []
    named = [c for c in containers if isinstance(c, dict) and c.get("name") == TRAINER]
    if named:
        return named[0]
    return containers[0] if len(containers) == 1 and isinstance(containers[0], dict) else None


def gpus_of(container: dict[str, Any]) -> int:
    """Return how many GPUs a container asks for."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return sum(int(str(count)) for name, count in asked.items() if name.startswith(GPU_PREFIXES))


def effective_workers(spec: JobSpec) -> int:
    """Return the number of pods of role worker."""
    return spec.workers or 1


def effective_processes(spec: JobSpec) -> int:
    """Return the number of ranks of a worker."""
    if spec.strategy in ONE_PROCESS:
        return 1
    if spec.processes_per_worker:
        return spec.processes_per_worker
    trainer = trainer_of(spec.template)
    return max(1, gpus_of(trainer)) if trainer else 1


def effective_success(spec: JobSpec) -> SuccessPolicy:
    """Return who decides on success."""
    if spec.success:
        return spec.success
    return (
        SuccessPolicy.CHIEF if spec.strategy is StrategyName.PARAMETER_SERVER else SuccessPolicy.ALL_WORKERS
    )
