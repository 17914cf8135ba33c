"""The workers of an attempt: who they are, where their agents listen, and which ranks they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ftjob.models.names import ROLES
from ftjob.models.spec import JobSpec

Place = tuple[str, int]
"""Role and index, which tell a worker from all others of an attempt."""


def rank_order(place: Place) -> tuple[int, str, int]:
    """Return what sorts workers into rank order: by role, then by index."""
    role, index = place
    return ROLES.index(role) if role in ROLES else len(ROLES), role, index


@dataclass(frozen=True)
class WorkerPlace:
    """One worker of an attempt: its role, index, address and ranks."""

    role: str
    index: int
    number: int
    """Its place among the workers of all roles, in rank order."""
    name: str
    host: str
    port: int
    """Of its agent."""
    server_port: int
    """For what its first rank serves, such as TensorFlow's gRPC server."""
    processes: int
    """How many ranks it runs: as many as each other worker."""

    @property
    def first_rank(self) -> int:
        """The lowest of its global ranks."""
        return self.number * self.processes

    @property
    def ranks(self) -> range:
        """Global ranks of this worker."""
        return range(self.first_rank, self.first_rank + self.processes)

    @property
    def place(self) -> Place:
        """Role and index."""
        return self.role, self.index

    @property
    def server(self) -> str:
        """Host and port of what its first rank serves."""
        return f"{self.host}:{self.server_port}"


@dataclass(frozen=True)
class Layout:
    """All workers of an attempt in rank order; the first is the leader."""

    spec: JobSpec
    uid: str
    """Of the job."""
    attempt: int
    workers: tuple[WorkerPlace, ...]
    rendezvous_port: int
    """On the leader's host: Horovod's store, torch's store, JAX's coordinator."""
    slices_port: int
    """On the host of the leader: the coordinator of several TPU slices."""
    is_local: bool = False
    """Whether all workers are processes of one machine, without the cluster's accelerators."""

    @property
    def leader(self) -> WorkerPlace:
        """The worker of index 0, whose agent serves the star."""
        return self.workers[0]

    @cached_property
    def world_size(self) -> int:
        """Number of ranks."""
        return sum(worker.processes for worker in self.workers)

    def ranks(self) -> Iterator[tuple[WorkerPlace, int, int]]:
        """Yield (worker, rank, local rank) for every rank."""
        for worker in self.workers:
            for local, rank in enumerate(worker.ranks):
                yield worker, rank, local

    @cached_property
    def by_role(self) -> dict[str, tuple[WorkerPlace, ...]]:
        """The workers of each role that has any, in rank order."""
        found: dict[str, list[WorkerPlace]] = {}
        for worker in self.workers:
            found.setdefault(worker.role, []).append(worker)
        return {role: tuple(workers) for role, workers in found.items()}
