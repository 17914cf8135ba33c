"""What a spec means where it says nothing. Pure, and the only place of this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ftjob.models.manifest import gpus_of
from ftjob.models.names import ROLES, WORKER
from ftjob.models.spec import JobSpec, StrategyName, SuccessPolicy, trainer_of
from ftjob.strategies.tpu import tpu_hosts

WORKERS_MAX = 10_000


class Processes(Enum):
    """How many ranks a worker has where ``processesPerWorker`` is left out."""

    PER_GPU = "one for each GPU that the trainer asks for, at least one"
    ONE = "one, which drives all devices of the pod"
    ALWAYS_ONE = "one, and no other number makes sense"


@dataclass(frozen=True)
class Traits:
    """What the API has to know of a strategy; all else is in ``ftjob.strategies``."""

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


def restarts_in_place(spec: JobSpec) -> bool:
    """Whether the agents of a job halt when a rank fails. Elastic jobs have their own way to go on."""
    return spec.restart.in_place and spec.restart.limit > 0 and spec.elastic is None
