"""What a spec means where it says nothing. Pure, and the only place of this."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ftjob.api.spec import JobSpec, StrategyName, SuccessPolicy
from ftjob.api.template import TRAINER

GRACE_SECONDS = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
MIG_PREFIX = "nvidia.com/mig-"

WORKERS_MAX = 10_000

WORKER = "worker"
ROLES = ("chief", WORKER, "ps", "evaluator")
"""All roles, in rank order."""


class Processes(Enum):
    """How many ranks a worker has where ``processesPerWorker`` is left out."""

    PER_GPU = "one for each GPU that the trainer asks for, at least one"
    ONE = "one, which drives all devices of the pod"
    ALWAYS_ONE = "one, and no other number makes sense"


@dataclass(frozen=True)
class Traits:
    """What the API has to know of a strategy; all else is in ``ftjob.plan.strategies``."""

    processes: Processes = Processes.PER_GPU
    roles: tuple[tuple[str, int], ...] = ()
    """Roles beside worker, and how many pods of each there are if the spec does not say."""
    success: SuccessPolicy = SuccessPolicy.ALL_WORKERS
    """Who decides on success if the spec does not say."""
    elastic: bool = False


TRAITS: dict[StrategyName, Traits] = {
    StrategyName.HOROVOD: Traits(elastic=True),
    StrategyName.MIRRORED: Traits(Processes.ALWAYS_ONE),
    StrategyName.MULTI_WORKER_MIRRORED: Traits(Processes.ALWAYS_ONE),
    StrategyName.PARAMETER_SERVER: Traits(
        Processes.ALWAYS_ONE,
        roles=(("chief", 1), ("ps", 1), ("evaluator", 0)),
        success=SuccessPolicy.CHIEF,  # its other roles never end by themselves
    ),
    StrategyName.TORCHRUN: Traits(elastic=True),
    StrategyName.TPU: Traits(Processes.ALWAYS_ONE),
    StrategyName.JAX: Traits(Processes.ONE),
    StrategyName.PLAIN: Traits(),
}


def template_of(spec: JobSpec, role: str = WORKER) -> dict[str, Any]:
    """Return the pod template of a role: its own, or else that of the job."""
    own = getattr(spec.roles, role, None) if spec.roles is not None else None
    return own.template if own is not None and own.template is not None else spec.template


def trainer_of(spec: JobSpec, role: str = WORKER) -> dict[str, Any]:
    """Return the trainer of a role's pods; empty if there is none."""
    return trainer_in(template_of(spec, role))


def trainer_in(template: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer: the container named ``trainer``, or the only one; empty if there is none."""
    containers = containers_of(template)
    named = [container for container in containers if container.get("name") == TRAINER]
    return (named or (containers if len(containers) == 1 else []) or [{}])[0]


def containers_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a pod template."""
    return items(template.get("spec"), "containers")


def items(parent: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects in a list of a template; what is not there or no object is left out."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def mapping(parent: Any, *path: str) -> dict[str, Any]:
    """Return an object somewhere in a template; empty if it is not there or something else is."""
    for key in path:
        parent = parent.get(key) if isinstance(parent, dict) else None
    return parent if isinstance(parent, dict) else {}


def gpus_of(container: dict[str, Any]) -> int:
    """Return how many GPUs (or MIG slices) a container asks for."""
    limits = mapping(container, "resources", "limits")  # extended resources count only where they are limits
    return sum(
        int(amount)
        for name, amount in limits.items()
        if (name in GPU_RESOURCES or name.startswith(MIG_PREFIX)) and str(amount).isdecimal()
    )


def grace_seconds(template: dict[str, Any]) -> int:
    """Return for how long a pod may go on after it was told to end."""
    seconds = mapping(template, "spec").get("terminationGracePeriodSeconds")
    return seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else GRACE_SECONDS


def roles_of(spec: JobSpec) -> dict[str, int]:
    """Return how many pods each role has that has any, in rank order."""
    wanted = {WORKER: workers_of(spec)}
    for role, left_out in TRAITS[spec.strategy].roles:
        own = getattr(spec.roles, role, None) if spec.roles is not None else None
        said = own.replicas if own is not None else None
        wanted[role] = left_out if said is None else said
    return {role: wanted[role] for role in ROLES if wanted.get(role)}


def workers_of(spec: JobSpec) -> int:
    """Return the number of pods of role worker."""
    if spec.workers is not None:
        return spec.workers
    return tpu_hosts(spec) or 1


def tpu_hosts(spec: JobSpec) -> int | None:
    """Return the number of TPU hosts of all slices together; None if the spec does not say it."""
    tpu = spec.tpu
    if tpu is None or tpu.topology is None or tpu.chips_per_worker is None:
        return None
    return math.prod(int(side) for side in tpu.topology.split("x")) // tpu.chips_per_worker * tpu.slices


def processes_per_worker(spec: JobSpec) -> int:
    """Return the number of ranks in each worker."""
    kind = TRAITS[spec.strategy].processes
    if kind is Processes.ALWAYS_ONE:
        return 1
    if spec.processes_per_worker is not None:
        return spec.processes_per_worker
    return 1 if kind is Processes.ONE else max(1, gpus_of(trainer_of(spec)))


def world_size_of(spec: JobSpec) -> int:
    """Return the number of ranks of the job."""
    return sum(roles_of(spec).values()) * processes_per_worker(spec)


def success_of(spec: JobSpec) -> SuccessPolicy:
    """Return which workers decide that the job has succeeded."""
    return spec.success or TRAITS[spec.strategy].success
