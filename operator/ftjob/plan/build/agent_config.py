"""What one worker's agent and ranks are told: the same for a pod and for a local process."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import is_possible, success_of
from ftjob.api.identity import is_identity
from ftjob.models.manifest import grace_seconds
from ftjob.models.spec import ProfilingMode, SuccessPolicy, template_of, trainer_of
from ftjob.strategies import STRATEGIES

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.spec import JobSpec
    from ftjob.plan.decision import Config

AGENT_DIR = "/ftjob/agent"
AGENT_PYZ = f"{AGENT_DIR}/ftjob-agent.pyz"
OUTPUTS_DIR = "/ftjob/outputs"

LAST_WORDS_SECONDS = 2

ACKNOWLEDGE_SECONDS = 5
"""By then all ranks have to be dead that are to be started again in place."""
PATIENCE_SECONDS = 30
"""How long dead ranks wait for our word, so that a job never holds its GPUs for an operator that is away. A
little more than a new leader takes when the old one was killed."""

CPU_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
CPU_QUANTITY = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d{1,2})?)([numk]?)")
"""What a CPU limit of one node can look like (Kubernetes' resource.Quantity)."""


@dataclass(frozen=True)
class WorkerCommand:
    """How a worker is started: the agent's configuration and the trainer's own command."""

    config: dict[str, Any]
    command: tuple[str, ...]

    @property
    def config_json(self) -> str:
        """The value of ``FTJOB_AGENT_CONFIG``."""
        return json.dumps(self.config, separators=(",", ":"), sort_keys=True)


def build_worker(
    job: Job, layout: Layout, worker: WorkerPlace, config: Config, *, outputs: str = OUTPUTS_DIR
) -> WorkerCommand:
    """Return what the agent of one worker is told.

    Parameters
    ----------
    outputs
        Where the worker sees the outputs volume.
    """
    spec = job.spec
    assert spec is not None
    trainer = trainer_of(spec, worker.role)
    strategy = STRATEGIES[spec.strategy]
    chosen = {item["name"] for item in trainer.get("env") or () if "name" in item}
    ranks: list[dict[str, Any]] = []
    for local_rank, rank in enumerate(worker.ranks):
        env = {
            "FTJOB_JOB": job.name,
            "FTJOB_NAMESPACE": job.namespace,
            "FTJOB_ROLE": worker.role,
            "FTJOB_INDEX": str(worker.index),
            "FTJOB_ATTEMPT": str(layout.attempt),
            "FTJOB_RANK": str(rank),
            "FTJOB_WORLD_SIZE": str(layout.world_size),
            "FTJOB_LOCAL_RANK": str(local_rank),
            "FTJOB_OUTPUTS": outputs,
            "FTJOB_CHECKPOINT_DIR": f"{outputs}/checkpoints",
            **_threads(trainer, worker.processes),
            **strategy.env(layout, worker, rank, local_rank),
        }
        # The user's value wins for all but identity, which validation has refused in `env`.
        ranks.append(
            {
                "rank": rank,
                "localRank": local_rank,
                "env": {k: v for k, v in env.items() if is_identity(k) or k not in chosen},
            }
        )
    is_leader = worker is layout.leader
    agent: dict[str, Any] = {
        "version": 1,
        "job": job.name,
        "namespace": job.namespace,
        "uid": job.uid,
        "strategy": spec.strategy.value,
        "role": worker.role,
        "index": worker.index,
        "attempt": layout.attempt,
        "worldSize": layout.world_size,
        "agents": len(layout.workers),
        "roles": {role: len(places) for role, places in layout.by_role().items()},
        "port": worker.port,
        "leader": {"host": layout.leader.host, "port": layout.leader.port},
        "ranks": ranks,
        "identity": sorted(
            {name for rank in ranks for name in rank["env"] if is_identity(name)} - set(strategy.unless_set)
        ),
        "unlessSet": list(strategy.unless_set),
        "rendezvous": strategy.rendezvous(layout) if is_leader else None,
        "successEndsJob": is_leader and success_of(spec) is not SuccessPolicy.ALL_WORKERS,
        "stopGraceSeconds": _stop_grace(template_of(spec, worker.role)),
        "startTimeoutSeconds": spec.scheduling.timeout_seconds or config.start_timeout_seconds,
        "contactTimeoutSeconds": config.contact_timeout_seconds,
        "outputs": outputs,
        "keepLogs": spec.outputs is not None,
        "profiling": _profiling(spec, layout, worker),
    }
    if spec.watchdog is not None:
        # Only who makes steps can show that there are none: a parameter server never does.
        counts = strategy.makes_steps(layout, worker)
        agent["watchdog"] = {"hangSeconds": spec.watchdog.hang_seconds, "counts": counts}
    if spec.elastic is not None:
        agent["elastic"] = spec.elastic.model_dump(by_alias=True)
    if is_possible(spec):
        agent["inPlace"] = {"acknowledgeSeconds": ACKNOWLEDGE_SECONDS, "patienceSeconds": PATIENCE_SECONDS}
    return WorkerCommand(
        config=agent,
        command=(*trainer.get("command", ()), *trainer.get("args", ())),
    )


def profiled_ranks(spec: JobSpec, layout: Layout) -> frozenset[int]:
    """Return the global ranks that take part in captures: those that make steps, or those that are named."""
    text = spec.profiling.ranks
    strategy = STRATEGIES[spec.strategy]
    workers = [worker for worker in layout.workers if strategy.makes_steps(layout, worker)]
    if text == "All":
        return frozenset(rank for worker in workers for rank in worker.ranks)
    if text == "OnePerWorker":
        return frozenset(worker.first_rank for worker in workers)
    wanted: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        wanted.update(range(int(first), min(int(last or first), layout.world_size - 1) + 1))
    return frozenset(wanted)


def _profiling(spec: JobSpec, layout: Layout, worker: WorkerPlace) -> dict[str, Any] | None:
    profiling = spec.profiling
    if profiling.mode is ProfilingMode.OFF:
        return None
    told = profiling.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"budget"})
    chosen = profiled_ranks(spec, layout) & set(worker.ranks)
    return told | {"ranks": sorted(rank - worker.first_rank for rank in chosen)}


def _threads(trainer: dict[str, Any], processes: int) -> dict[str, str]:
    """Share the CPU limit between the ranks: OpenMP itself counts the node's cores."""
    limit = ((trainer.get("resources") or {}).get("limits") or {}).get("cpu")
    if limit is None:
        return {}
    quantity = CPU_QUANTITY.fullmatch(str(limit))
    if quantity is None:  # the API server says what is wrong with it
        return {}
    cores = float(quantity[1]) * CPU_UNITS[quantity[2]]
    return {"OMP_NUM_THREADS": str(max(1, int(cores / processes)))}


def _stop_grace(template: dict[str, Any]) -> int:
    """Return how long ranks may take after SIGTERM: the pod's grace period, less the agent's last words."""
    return max(1, grace_seconds(template) - LAST_WORDS_SECONDS)
