"""What each rank uses, looked at from outside once a second: it costs the rank nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Mapping, NamedTuple, Optional, Sequence

from ftjob_agent import linux
from ftjob_agent.watching.nvml import Gpus
from ftjob_agent.watching.stacks import trainer_of

if TYPE_CHECKING:
    from ftjob_agent.ranks.supervise import Rank

TREE_EVERY = 10
"""The ranks' children are looked up anew every so many looks."""


class Used(NamedTuple):
    """What a rank has used up to a moment; None: not known."""

    time_ns: int
    cpu_seconds: float
    graph_seconds: Optional[float]
    """CPU time of the threads that run TensorFlow's graphs."""
    run_delay_seconds: Optional[float]
    """How long the main thread of the process that trains has waited for a core."""
    throttled_seconds: Optional[float]
    """How long the container was throttled."""
    rss_bytes: int
    gpu_bytes: Optional[int]


class Signals:
    """Looks at processes, control group and GPUs."""

    def __init__(self) -> None:
        self._cgroup = linux.Cgroup()
        self._gpus = Gpus()
        self._trees: dict[int, list[int]] = {}
        self._trainers: dict[int, int] = {}
        self._graphs: dict[int, list[int]] = {}
        self._looks = 0

    @property
    def memory_limit(self) -> Optional[int]:
        """Bytes that the container may use."""
        return self._cgroup.memory_limit()

    def take(self, ranks: Sequence[Rank]) -> Mapping[int, Used]:
        """Look at these ranks; by the process id of each."""
        pids = {rank.process.pid: rank for rank in ranks}
        if self._looks % TREE_EVERY == 0 or pids.keys() - self._trees.keys():
            table = linux.children()
            self._trees = {pid: linux.descendants(pid, table) for pid in pids}
            self._trainers = {pid: trainer_of(rank.dir, pid) for pid, rank in pids.items()}
            self._graphs = {pid: linux.graph_threads(trainer) for pid, trainer in self._trainers.items()}
        self._looks += 1
        throttled, memory = self._cgroup.throttled_seconds(), self._gpu_bytes(len(ranks))
        found = {}
        for pid, rank in pids.items():
            used = linux.usage(self._trees[pid], with_io=False)
            if used.rss_bytes:  # else it is between two programs, or dead and not reaped yet
                trainer, graph = self._trainers[pid], self._graphs[pid]
                found[pid] = Used(
                    time.time_ns(),
                    used.cpu_seconds,
                    linux.threads_seconds(trainer, graph) if graph else None,
                    linux.run_delay_seconds(trainer),
                    throttled,
                    used.rss_bytes,
                    memory.get(rank.spec.local_rank),
                )
        return found

    def _gpu_bytes(self, ranks: int) -> Mapping[int, int]:
        """Return what each local rank uses of GPUs: one each, or a single rank has all of them."""
        used = [gpu.get("memoryBytes", 0) for gpu in self._gpus.sample()]
        if ranks == 1 and used:
            return {0: sum(used)}
        return dict(enumerate(used)) if len(used) == ranks else {}
