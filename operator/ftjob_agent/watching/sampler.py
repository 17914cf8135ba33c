"""A thread for what can block on the outputs volume: samples of the system, and the requests of captures.

The volume is shared by all ranks of the job, and may be a small file server: nothing here looks at it again
and again. Samples wait in memory until there are many; finished captures are seen in the rank's own folder.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from ftjob_agent import linux, outputs
from ftjob_agent.watching.budget import Outcome, keep
from ftjob_protocol import files

if TYPE_CHECKING:
    from ftjob_agent.bounded_file import BoundedFile
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.rank_spec import RankSpec

SECONDS = 1.0
TREE_EVERY = 10
"""The ranks' children are looked up anew every so many samples."""
WRITES_A_SECOND = 8
"""Of all ranks of the job together."""
LEAST_SECONDS = 10.0
"""Between two writes of one rank's samples, however small the job is."""
BUFFER = 256 * 1024
"""Most bytes of one rank's samples that wait."""
LIMIT = 16 * 1024 * 1024
"""Most bytes of one rank's samples in the outputs: the first hours and the last ones."""
GOLDEN = 0.618
"""Its multiples are spread evenly: agents that start together do not write together."""


class Sampler(threading.Thread):
    """Samples the ranks that are profiled, once a second, until it is told to end."""

    def __init__(self, config: AgentConfig, pids: Callable[[], Mapping[int, int]]) -> None:
        super().__init__(name="ftjob-sampler", daemon=True)
        self._config = config
        self._pids = pids
        self._ended = threading.Event()
        self._wanted: dict[str, dict[str, Any]] = {}
        self._written: set[str] = set()
        self._busy: Optional[frozenset[str]] = None
        self._looked: Optional[tuple[frozenset[str], frozenset[str]]] = None
        self.outcome = Outcome()
        """What became of the captures when they were last counted."""

    def end(self) -> None:
        """Write what waits, and stop."""
        self._ended.set()

    def request(self, captures: dict[str, dict[str, Any]]) -> None:
        """Let these requests of captures, by their ids, be written down (the leader does)."""
        self._wanted = captures

    def keep(self, busy: frozenset[str]) -> Outcome:
        """Keep the captures but for these within their budget (the leader does); return the last outcome."""
        self._busy = busy
        return self.outcome

    def run(self) -> None:
        """Sample until the end; an outputs volume that fails costs only the samples."""
        assert self._config.profiling is not None
        takes_samples = "System" in self._config.profiling.tools
        samples = Samples(self._config, self._config.profiled()) if takes_samples else None
        while not self._ended.is_set():
            if samples is not None:
                samples.take(self._pids())
                samples.write_if_due(time.monotonic())
            self._write_requests()
            self._keep_to_budget()
            self._ended.wait(SECONDS)
        self._write_requests()
        if samples is not None:
            samples.close()

    def _write_requests(self) -> None:
        for capture in sorted(set(self._wanted) - self._written):
            self._written.add(capture)  # once: a volume that takes none now is not asked every second
            try:
                outputs.write_request(self._config, capture, self._wanted[capture])
            except OSError:
                pass

    def _keep_to_budget(self) -> None:
        """Count the captures anew when one begins or ends: the volume is not looked at again and again."""
        busy = self._busy
        if busy is None or (busy, frozenset(self._written)) == self._looked or not self._wanted:
            return
        self._looked = busy, frozenset(self._written)
        self.outcome = keep(self._config, busy)


class Samples:
    """What each rank uses, in the memory of the agent and then in a file of each rank's own."""

    def __init__(self, config: AgentConfig, specs: tuple[RankSpec, ...]) -> None:
        from ftjob_agent.watching.nvml import Gpus

        self._specs = specs
        self._cgroup = linux.Cgroup()
        self._gpus = Gpus()
        self._trees: dict[int, list[int]] = {}
        self._taken = 0
        self._waiting: dict[int, list[bytes]] = {spec.rank: [] for spec in specs}
        self._size = 0
        self._period = max(LEAST_SECONDS, config.world_size / WRITES_A_SECOND)
        self._due = time.monotonic() + self._period * ((config.index * GOLDEN) % 1 or 1)
        self._files: dict[int, BoundedFile] = {}
        for spec in specs:
            file = outputs.bounded_file(config, files.samples(spec.rank), LIMIT)
            try:
                file.open()  # at the start, when all is opened; later each write is one operation
            except OSError:
                continue
            self._files[spec.rank] = file

    def take(self, pids: Mapping[int, int]) -> None:
        """Take one sample of each rank that runs."""
        if self._taken % TREE_EVERY == 0:
            table = linux.children()
            self._trees = {rank: linux.descendants(pid, table) for rank, pid in pids.items()}
        self._taken += 1
        pod = self._cgroup.sample()
        gpus = self._gpus.sample()
        if gpus:
            pod["gpus"] = gpus
        for spec in self._specs:
            if spec.rank in pids:
                self._keep(spec, self._trees.get(spec.rank, [pids[spec.rank]]), pod)

    def write_if_due(self, now: float) -> None:
        """Write what waits, when it has waited long enough or is much."""
        if now >= self._due or self._size >= BUFFER * max(1, len(self._specs)):
            self._due = now + self._period
            self._write()

    def close(self) -> None:
        """Write what waits, and no more."""
        self._write()
        for file in self._files.values():
            file.close()

    def _keep(self, spec: RankSpec, tree: list[int], pod: dict[str, object]) -> None:
        used = linux.usage(tree)
        if not used.rss_bytes:
            return  # caught between two programs, or dead and not reaped yet
        line = {
            "timeNs": time.time_ns(),
            "cpuSeconds": round(used.cpu_seconds, 3),
            "rssBytes": used.rss_bytes,
            "threads": used.threads,
            "readBytes": used.read_bytes,
            "writeBytes": used.write_bytes,
            "pod": pod,
        }
        self._waiting[spec.rank].append(json.dumps(line).encode() + b"\n")
        self._size += len(self._waiting[spec.rank][-1])

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, {spec.rank: [] for spec in self._specs}
        self._size = 0
        for rank, lines in waiting.items():
            if lines and rank in self._files:
                try:
                    self._files[rank].write(b"".join(lines))
                except OSError:
                    self._files.pop(rank).close()
