"""Rules about fields of the spec that may not stand together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ftjob.api.defaults import processes_per_worker, roles_of, world_size_of
from ftjob.api.rules.rule import Rule
from ftjob.models.manifest import gpus_of
from ftjob.models.spec import JobSpec, ProfilingMode, Roles, SuccessPolicy, WhenDeleted, trainer_of
from ftjob.strategies import STRATEGIES
from ftjob.strategies.base import Processes
from ftjob.strategies.jax import Jax
from ftjob.strategies.mirrored import Mirrored
from ftjob.strategies.multi_worker_mirrored import MultiWorkerMirrored
from ftjob.strategies.parameter_server import ParameterServer
from ftjob.strategies.tf_config import OUTSIDE, TASKS_MAX
from ftjob_protocol.values.ranges import parse_ranges

PROCESSES_MAX = 256
RANKS_MAX = 100_000
"""What the rest is built and measured for; workers and their processes alone would allow 25 times as many."""
ALWAYS_ONE = [s.name for s in STRATEGIES.values() if s.processes is Processes.ALWAYS_ONE]
ELASTIC = [s.name for s in STRATEGIES.values() if s.elastic]
WITH_ROLES = [s.name for s in STRATEGIES.values() if s.roles]
WITH_ROLE = {role: [s.name for s in STRATEGIES.values() if role in s.roles] for role in Roles.model_fields}
WITH_TF_CONFIG = [MultiWorkerMirrored.name, ParameterServer.name]
WITH_CHIEF = WITH_ROLE["chief"]


def _cel(names: Iterable[str]) -> str:
    return str(sorted(str(name) for name in names))


def _listed(names: Iterable[str]) -> str:
    *others, last = map(str, names)
    return f"{', '.join(others)} and {last}" if others else last


def _have(names: list[str]) -> str:
    return f"{_listed(names)} {'has' if len(names) == 1 else 'have'}"


def _strategies(names: list[str]) -> str:
    return "strategy" if len(names) == 1 else "the strategies"


def _out_of_bounds(spec: JobSpec) -> bool:
    if spec.elastic is None or spec.workers is None:
        return False
    return not spec.elastic.min_workers <= spec.workers <= spec.elastic.max_workers


def _describes_a_foreign_claim(spec: JobSpec) -> bool:
    out = spec.outputs
    if out is None or out.claim_name is None:
        return False
    return any(value is not None for value in (out.storage_class_name, out.size, out.access_mode))


def _deletes_a_foreign_claim(spec: JobSpec) -> bool:
    out = spec.outputs
    return out is not None and out.claim_name is not None and out.when_deleted is WhenDeleted.DELETE


def _leaves_the_volume(spec: JobSpec) -> bool:
    path = (spec.outputs and spec.outputs.path) or ""
    return ".." in path.split("/")


def _replicas(spec: JobSpec, role: str) -> int | None:
    own = getattr(spec.roles, role, None)
    return own.replicas if own is not None else None


def _has_several(role: str, spec: JobSpec) -> bool:
    return (_replicas(spec, role) or 0) > 1


def _has_role(role: str, strategies: list[str], spec: JobSpec) -> bool:
    return spec.strategy in strategies and getattr(spec.roles, role, None) is not None


def _waits_for_others(strategies: list[str], policy: SuccessPolicy, spec: JobSpec) -> bool:
    return spec.strategy in strategies and spec.success not in {None, policy}


def _profiles_ranks_that_are_not(spec: JobSpec) -> bool:
    if not spec.profiling.ranks[0].isdigit():
        return False
    world = world_size_of(spec)
    return any(not ranks or ranks[-1] >= world for ranks in parse_ranges(spec.profiling.ranks))


COMBINATIONS: tuple[Rule, ...] = (
    Rule(
        field="spec.processesPerWorker",
        message=f"{_listed(ALWAYS_ONE)} run one process in each pod, which drives all of its devices",
        remedy="leave processesPerWorker out, or set it to 1",
        cel=f"!(self.strategy in {_cel(ALWAYS_ONE)}) || self.?processesPerWorker.orValue(1) == 1",
        broken=lambda spec: spec.strategy in ALWAYS_ONE and spec.processes_per_worker not in {None, 1},
    ),
    Rule(
        field="spec.processesPerWorker",
        message=f"the trainer asks for more than {PROCESSES_MAX} GPUs, and each would get a rank",
        remedy=f"ask for at most {PROCESSES_MAX} GPUs in the trainer's limits, or set processesPerWorker",
        broken=lambda spec: processes_per_worker(spec) > PROCESSES_MAX,
    ),
    Rule(
        field="spec.processesPerWorker",
        message=f"workers and processesPerWorker make more than {RANKS_MAX} ranks",
        remedy="ask for fewer workers, or for fewer processes in each",
        cel=f"self.?workers.orValue(1) * self.?processesPerWorker.orValue(1) <= {RANKS_MAX}",
        broken=lambda spec: world_size_of(spec) > RANKS_MAX,  # CEL does not see ranks that GPUs make
    ),
    Rule(
        field="spec.workers",
        message=f"TF_CONFIG lists all tasks, and Linux takes variables of 128 KiB: {TASKS_MAX} tasks fit",
        remedy=f"ask for at most {TASKS_MAX} pods of {_listed(WITH_TF_CONFIG)} in all",
        cel=f"!(self.strategy in {_cel(WITH_TF_CONFIG)}) || self.?workers.orValue(1) <= {TASKS_MAX}",
        broken=lambda spec: (
            spec.strategy in WITH_TF_CONFIG
            and sum(count for role, count in roles_of(spec).items() if role not in OUTSIDE) > TASKS_MAX
        ),
    ),
    Rule(
        field="spec.processesPerWorker",
        message="the trainer's GPUs can't be shared out evenly among the processes of a JAX worker",
        remedy="leave processesPerWorker out, so that one process drives all GPUs, or set it to a divisor of "
        "their number",
        broken=lambda spec: (
            spec.strategy == Jax.name and gpus_of(trainer_of(spec)) % processes_per_worker(spec) != 0
        ),
    ),
    Rule(
        field="spec.workers",
        message="Mirrored trains on the devices of one pod; further workers would each train alone",
        remedy="leave workers out, or use strategy MultiWorkerMirrored to train over several pods",
        cel="self.strategy != 'Mirrored' || self.?workers.orValue(1) == 1",
        broken=lambda spec: spec.strategy == Mirrored.name and spec.workers not in {None, 1},
    ),
    Rule(
        field="spec.roles",
        message=f"only {_strategies(WITH_ROLES)} {_have(WITH_ROLES)} roles beside worker",
        remedy=f"remove roles, or set strategy to {' or '.join(WITH_ROLES)}",
        cel=f"self.strategy in {_cel(WITH_ROLES)} || !has(self.roles)",
        broken=lambda spec: spec.strategy not in WITH_ROLES and spec.roles is not None,
    ),
    *(
        Rule(
            field=f"spec.roles.{role}",
            message=f"only {_strategies(having)} {_have(having)} role {role}",
            remedy=f"remove roles.{role}",
            cel=f"!(self.strategy in {_cel(lacking)}) || !self.?roles.?{role}.hasValue()",
            broken=partial(_has_role, role, lacking),
        )
        for role, having in WITH_ROLE.items()
        if (lacking := [name for name in WITH_ROLES if name not in having])
    ),
    Rule(
        field="spec.elastic",
        message=f"only the strategies {_listed(ELASTIC)} let workers come and go",
        remedy=f"remove elastic, or set strategy to {' or '.join(ELASTIC)}",
        cel=f"self.strategy in {_cel(ELASTIC)} || !has(self.elastic)",
        broken=lambda spec: spec.strategy not in ELASTIC and spec.elastic is not None,
    ),
    Rule(
        field="spec.workers",
        message="an elastic job starts with a stated number of workers",
        remedy="set workers to a number from elastic.minWorkers to elastic.maxWorkers",
        cel="!has(self.elastic) || has(self.workers)",
        broken=lambda spec: spec.elastic is not None and spec.workers is None,
        required=True,
    ),
    Rule(
        field="spec.workers",
        message="workers is not within the bounds of elastic",
        remedy="set workers to a number from elastic.minWorkers to elastic.maxWorkers",
        cel="!has(self.elastic) || !has(self.workers) || "
        "(self.elastic.minWorkers <= self.workers && self.workers <= self.elastic.maxWorkers)",
        broken=_out_of_bounds,
    ),
    Rule(
        field="spec.elastic.maxWorkers",
        message="elastic.maxWorkers is less than elastic.minWorkers",
        remedy="set maxWorkers to minWorkers or more",
        at="spec.elastic",
        cel="self.minWorkers <= self.maxWorkers",
        broken=lambda spec: spec.elastic is not None and spec.elastic.min_workers > spec.elastic.max_workers,
    ),
    Rule(
        field="spec.success",
        message=f"only {_strategies(WITH_CHIEF)} {_have(WITH_CHIEF)} a chief",
        remedy="set success to AllWorkers or Worker0, or leave it out",
        cel=f"self.strategy in {_cel(WITH_CHIEF)} || self.?success.orValue('') != 'Chief'",
        broken=lambda spec: spec.strategy not in WITH_CHIEF and spec.success is SuccessPolicy.CHIEF,
    ),
    *(
        Rule(
            field="spec.success",
            message=f"of {_strategies(names)} {_listed(names)} only {who} ends by itself",
            remedy=f"set success to {policy}, or leave it out{otherwise}",
            cel=f"!(self.strategy in {_cel(names)}) || self.?success.orValue('{policy}') == '{policy}'",
            broken=partial(_waits_for_others, names, policy),
        )
        for policy, who, otherwise in (
            (SuccessPolicy.CHIEF, "the chief", "; where there is no chief, worker 0 stands for it"),
            (SuccessPolicy.WORKER_0, "worker 0", ""),
        )
        if (names := [s.name for s in STRATEGIES.values() if s.success is policy and not s.others_end])
    ),
    *(
        Rule(
            field=f"spec.roles.{role}.replicas",
            message=f"{_have(WITH_ROLE[role])} at most one {role}",
            remedy="set replicas to 0 or 1",
            at="spec.roles",
            cel=f"self.?{role}.?replicas.orValue(0) <= 1",
            broken=partial(_has_several, role),
        )
        for role in ("chief", "evaluator")
    ),
    Rule(
        field="spec.roles.ps.replicas",
        message="ParameterServer keeps its variables on role ps, so there has to be one",
        remedy="set replicas to 1 or more, or leave it out",
        at="spec.roles",
        cel="self.?ps.?replicas.orValue(1) >= 1",
        broken=lambda spec: _replicas(spec, "ps") == 0,
    ),
    Rule(
        field="spec.outputs",
        message="profiling.mode Scheduled needs a place for its captures that outlives the pods",
        remedy="add outputs: {} for a claim of the default storage class, or set profiling.mode to Off",
        cel="self.?profiling.?mode.orValue('') != 'Scheduled' || has(self.outputs)",
        broken=lambda spec: spec.profiling.mode is ProfilingMode.SCHEDULED and spec.outputs is None,
        required=True,
    ),
    Rule(
        field="spec.outputs.claimName",
        message="storageClassName, size and accessMode describe a claim that is made for the job, "
        "but claimName names an existing one",
        remedy="remove claimName, or the other three",
        at="spec.outputs",
        cel="!has(self.claimName) || !(has(self.storageClassName) || has(self.size) || has(self.accessMode))",
        broken=_describes_a_foreign_claim,
    ),
    Rule(
        field="spec.outputs.whenDeleted",
        message="an existing claim is never deleted with the job",
        remedy="remove whenDeleted or claimName",
        at="spec.outputs",
        cel="!has(self.claimName) || self.?whenDeleted.orValue('') != 'Delete'",
        broken=_deletes_a_foreign_claim,
    ),
    Rule(
        field="spec.outputs.path",
        message="path must stay within the volume",
        remedy="write a relative path without .., such as team-a/digits",
        at="spec.outputs",
        cel="!has(self.path) || !self.path.split('/').exists(part, part == '..')",
        broken=_leaves_the_volume,
    ),
    Rule(
        field="spec.profiling.ranks",
        message="it names ranks that the job does not have, or a range that runs backwards",
        remedy="write ranks from 0 to workers x processesPerWorker - 1, such as 0,2-3",
        broken=_profiles_ranks_that_are_not,
    ),
)
