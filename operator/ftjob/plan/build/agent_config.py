"""What one worker's agent and ranks are told: the same for a pod and for a local process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import log_limit, restarts_in_place, success_of
from ftjob.api.identity import is_identity
from ftjob.models.manifest import grace_seconds
from ftjob.models.names import ANNOTATION_RAW_LOGS
from ftjob.models.resources import MILLI, milli
from ftjob.models.spec import ProfilingMode, SuccessPolicy, template_of, trainer_of
from ftjob.strategies import STRATEGIES
from ftjob_protocol import files, variables
from ftjob_protocol.agent_config import (
    ACKNOWLEDGE_SECONDS,
    PATIENCE_SECONDS,
    Address,
    AgentConfig,
    Elastic,
    InPlace,
    Profiling,
    Watchdog,
)
from ftjob_protocol.captures import KEEP_LAST, MAX_BYTES
from ftjob_protocol.code import Code
from ftjob_protocol.rank_spec import RankSpec
from ftjob_protocol.values import peers
from ftjob_protocol.values.ranges import parse_ranges

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.spec import Budget, JobSpec
    from ftjob.models.spec import Profiling as ProfilingSpec
    from ftjob.plan.plan import Config

OUTPUTS_DIR = "/ftjob/outputs"
CODE_FILE = f"{files.AGENT_DIR}/{files.CODE_ARCHIVE}"

LAST_WORDS_SECONDS = 2


@dataclass(frozen=True)
class AgentCommand:
    """How a worker is started: the agent's configuration and the trainer's own command."""

    config: AgentConfig
    command: tuple[str, ...]

    @property
    def config_json(self) -> str:
        """The value of ``FTJOB_AGENT_CONFIG``."""
        return json.dumps(self.config.as_json(), separators=(",", ":"), sort_keys=True)


def agent_command(
    job: Job, layout: Layout, worker: WorkerPlace, config: Config, *, outputs: str = OUTPUTS_DIR
) -> AgentCommand:
    """Return what the agent of one worker is told.

    Parameters
    ----------
    outputs
        Where the worker sees the outputs volume.
    """
    spec = job.spec
    trainer = trainer_of(spec, worker.role)
    strategy = STRATEGIES[spec.strategy]
    ranks = _ranks(job, layout, worker, trainer, outputs)
    is_leader = worker is layout.leader
    agent = AgentConfig(
        job=job.name,
        namespace=job.namespace,
        uid=job.uid,
        strategy=spec.strategy,
        role=worker.role,
        index=worker.index,
        attempt=layout.attempt,
        world_size=layout.world_size,
        agents=len(layout.workers),
        roles={role: len(places) for role, places in layout.by_role.items()},
        port=worker.port,
        server_port=worker.server_port if asks_for_peers(ranks) else None,
        leader=Address(layout.leader.host, layout.leader.port),
        ranks=ranks,
        identity=tuple(
            sorted(
                {name for rank in ranks for name in rank.env if is_identity(name)} - set(strategy.unless_set)
            )
        ),
        unless_set=tuple(strategy.unless_set),
        rendezvous=strategy.rendezvous(layout) if is_leader else None,
        elastic=Elastic(spec.elastic.min_workers, spec.elastic.max_workers) if spec.elastic else None,
        in_place=InPlace(ACKNOWLEDGE_SECONDS, PATIENCE_SECONDS) if restarts_in_place(spec) else None,
        success_ends_job=is_leader and success_of(spec) is not SuccessPolicy.ALL_WORKERS,
        start_timeout=spec.scheduling.timeout_seconds,
        contact_timeout=config.contact_timeout_seconds,
        stop_grace=_stop_grace(template_of(spec, worker.role)),
        exception_grace=spec.exception_grace_seconds,
        outputs=outputs,
        keep_logs=spec.outputs is not None,
        log_limit=log_limit(spec),
        mark_ranks=len(ranks) > 1 and job.annotations.get(ANNOTATION_RAW_LOGS) != "true",
        has_private_outputs=False,
        profiling=_profiling(spec, layout, worker),
        # Only who makes steps can show that there are none: a parameter server never does.
        watchdog=Watchdog(spec.watchdog.hang_seconds, strategy.makes_steps(layout, worker))
        if spec.watchdog is not None
        else None,
        code=Code(CODE_FILE, spec.code.sha256) if spec.code is not None else None,
    )
    return AgentCommand(agent, (*trainer.get("command", ()), *trainer.get("args", ())))


def _ranks(
    job: Job, layout: Layout, worker: WorkerPlace, trainer: dict[str, Any], outputs: str
) -> tuple[RankSpec, ...]:
    """Return the ranks of a worker, each with what tells it who it is.

    For all but identity, which validation has refused in ``env``, the agent lets what the container has win.
    """
    spec = job.spec
    strategy = STRATEGIES[spec.strategy]
    same = {
        variables.JOB: job.name,
        variables.NAMESPACE: job.namespace,
        variables.ROLE: worker.role,
        variables.INDEX: str(worker.index),
        variables.ATTEMPT: str(layout.attempt),
        variables.WORLD_SIZE: str(layout.world_size),
        variables.OUTPUTS: outputs,
        variables.CHECKPOINT_DIR: f"{outputs}/{files.CHECKPOINTS}",
        **_threads(trainer, worker.processes),
    }
    ranks = []
    for local_rank, rank in enumerate(worker.ranks):
        own = {variables.RANK: str(rank), variables.LOCAL_RANK: str(local_rank)}
        env = {**same, **own, **strategy.env(layout, worker, rank, local_rank)}
        ranks.append(RankSpec(rank, local_rank, env))
    return tuple(ranks)


def asks_for_peers(ranks: tuple[RankSpec, ...]) -> bool:
    """Whether ranks are told where the others are."""
    return any(peers.asks_for_peers(value) for value in ranks[0].env.values())


def profiled_ranks(spec: JobSpec, layout: Layout) -> frozenset[int]:
    """Return the global ranks that take part in captures: those that make steps, or those that are named."""
    return frozenset(rank for worker in layout.workers for rank in _profiled(spec, layout, worker))


def _profiled(spec: JobSpec, layout: Layout, worker: WorkerPlace) -> frozenset[int]:
    """Return those of one worker."""
    text, ranks = spec.profiling.ranks, worker.ranks
    if text in {"All", "OnePerWorker"}:
        steps = STRATEGIES[spec.strategy].makes_steps(layout, worker)
        return frozenset((ranks if text == "All" else ranks[:1]) if steps else ())
    chosen = parse_ranges(text)
    return frozenset(rank for rank in ranks if any(rank in found for found in chosen))


def _profiling(spec: JobSpec, layout: Layout, worker: WorkerPlace) -> Profiling | None:
    profiling = spec.profiling
    if profiling.mode is ProfilingMode.OFF:
        return None
    return Profiling(
        mode=profiling.mode.value,
        schedule=profiling.schedule.model_dump(by_alias=True, exclude_none=True),
        ranks=frozenset(rank - worker.first_rank for rank in _profiled(spec, layout, worker)),
        tools=tuple(tool.value for tool in profiling.tools),
        options=profiling.options.model_dump(by_alias=True, exclude_none=True),
        max_bytes=_max_bytes(profiling.budget),
        keep_last=_keep_last(profiling),
    )


def _max_bytes(budget: Budget | None) -> int:
    amount = milli(budget.max_bytes) if budget is not None and budget.max_bytes is not None else None
    return MAX_BYTES if amount is None else max(1, amount // MILLI)


def _keep_last(wanted: ProfilingSpec) -> int:
    """Return how many captures are kept: whoever asks for a schedule of many wants them all."""
    if wanted.budget is not None and wanted.budget.keep_last is not None:
        return wanted.budget.keep_last
    return max(KEEP_LAST, wanted.schedule.repeat) if wanted.mode is ProfilingMode.SCHEDULED else KEEP_LAST


def _threads(trainer: dict[str, Any], processes: int) -> dict[str, str]:
    """Share the CPU limit between the ranks: OpenMP itself counts the node's cores."""
    limit = ((trainer.get("resources") or {}).get("limits") or {}).get("cpu")
    if limit is None:
        return {}
    amount = milli(limit)
    if amount is None:  # the API server says what is wrong with it
        return {}
    return {"OMP_NUM_THREADS": str(max(1, amount // MILLI // processes))}


def _stop_grace(template: dict[str, Any]) -> int:
    """Return how long ranks may take after SIGTERM: the pod's grace period, less the agent's last words."""
    return max(1, grace_seconds(template) - LAST_WORDS_SECONDS)
