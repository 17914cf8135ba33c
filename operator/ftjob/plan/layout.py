"""Who is where in an attempt: roles, ranks, addresses and ports."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftjob.api.defaults import processes_per_worker, workers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftjob.api.job import Job
    from ftjob.api.spec import StrategyName

WORKER = "worker"

PORT_BASE = 20_000
PORT_STEP = 8
PORT_BLOCKS = 1_200
"""Blocks of eight ports in 20000-29599: below Linux' ephemeral ports (32768) and Kubernetes' node ports
(30000), so that jobs with hostNetwork rarely meet each other and never a kernel-chosen port."""


def agent_port(uid: str) -> int:
    """Return the port of the leader's agent for the job with this UID."""
    return PORT_BASE + PORT_STEP * (zlib.crc32(uid.encode()) % PORT_BLOCKS)


@dataclass(frozen=True)
class WorkerPlace:
    """One worker of an attempt: its role, index, address and ranks."""

    role: str
    index: int
    name: str
    host: str
    port: int
    first_rank: int
    processes: int

    @property
    def ranks(self) -> range:
        """Global ranks of this worker."""
        return range(self.first_rank, self.first_rank + self.processes)


@dataclass(frozen=True)
class Layout:
    """All workers of an attempt in rank order; the first is the leader."""

    strategy: StrategyName
    attempt: int
    workers: tuple[WorkerPlace, ...]
    rendezvous_port: int

    @property
    def leader(self) -> WorkerPlace:
        """The worker of index 0, whose agent serves the star."""
        return self.workers[0]

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return sum(worker.processes for worker in self.workers)

    def ranks(self) -> Iterator[tuple[WorkerPlace, int, int]]:
        """Yield (worker, rank, local rank) for every rank."""
        for worker in self.workers:
            for local, rank in enumerate(worker.ranks):
                yield worker, rank, local


def pod_name(job: str, role: str, attempt: int, index: int) -> str:
    """Return the name of a pod, which is its host name too."""
    return f"{job}-{role}-{attempt}-{index}"


def cluster_layout(job: Job, attempt: int) -> Layout:
    """Lay an attempt out over pods that find each other by the headless Service.

    Hosts are ``<pod>.<service>.<namespace>.svc``; the cluster's domain is left to the resolver's search list.
    """
    assert job.spec is not None
    port = agent_port(job.uid)
    processes = processes_per_worker(job.spec)
    names = [pod_name(job.name, WORKER, attempt, i) for i in range(workers_of(job.spec))]
    return Layout(
        strategy=job.spec.strategy,
        attempt=attempt,
        workers=tuple(
            WorkerPlace(
                role=WORKER,
                index=i,
                name=name,
                host=f"{name}.{job.name}.{job.namespace}.svc",
                port=port,
                first_rank=i * processes,
                processes=processes,
            )
            for i, name in enumerate(names)
        ),
        rendezvous_port=port + 1,
    )


def local_layout(job: Job, attempt: int, ports: tuple[int, ...]) -> Layout:
    """Lay an attempt out over processes of this machine.

    Parameters
    ----------
    ports
        Free ports: one for each worker's agent, then one for the rendezvous.
    """
    layout = cluster_layout(job, attempt)
    workers = tuple(
        WorkerPlace(w.role, w.index, w.name, "127.0.0.1", port, w.first_rank, w.processes)
        for w, port in zip(layout.workers, ports, strict=False)
    )
    return Layout(layout.strategy, attempt, workers, rendezvous_port=ports[len(workers)])
