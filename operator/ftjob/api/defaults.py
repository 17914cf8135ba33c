"""What a spec means where it says nothing. Pure, and the only place of this."""

from __future__ import annotations

from ftjob.models.manifest import gpus_of
from ftjob.models.names import ROLES, WORKER
from ftjob.models.resources import MILLI, milli
from ftjob.models.spec import JobSpec, SuccessPolicy, trainer_of
from ftjob.strategies import STRATEGIES
from ftjob.strategies.base import Processes
from ftjob_protocol.agent_config import LOG_LIMIT

WORKERS_MAX = 10_000


def roles_of(spec: JobSpec) -> dict[str, int]:
    """Return how many pods each role has that has any, in rank order."""
    wanted = {WORKER: workers_of(spec)}
    for role, left_out in STRATEGIES[spec.strategy].roles.items():
        own = getattr(spec.roles, role, None) if spec.roles is not None else None
        said = own.replicas if own is not None else None
        wanted[role] = left_out if said is None else said
    return {role: wanted[role] for role in ROLES if wanted.get(role)}


def workers_of(spec: JobSpec) -> int:
    """Return the number of pods of role worker."""
    if spec.workers is not None:
        return spec.workers
    return STRATEGIES[spec.strategy].default_workers(spec)


def processes_per_worker(spec: JobSpec) -> int:
    """Return the number of ranks in each worker."""
    kind = STRATEGIES[spec.strategy].processes
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
    return spec.success or STRATEGIES[spec.strategy].success


def log_limit(spec: JobSpec) -> int:
    """Return how many bytes of the outputs the log of a rank may take."""
    said = milli(spec.outputs.log_limit) if spec.outputs is not None and spec.outputs.log_limit else None
    return said // MILLI if said is not None else LOG_LIMIT


def restarts_in_place(spec: JobSpec) -> bool:
    """Whether the agents of a job halt when a rank fails. Elastic jobs have their own way to go on."""
    return spec.restart.in_place and spec.restart.limit > 0 and spec.elastic is None
