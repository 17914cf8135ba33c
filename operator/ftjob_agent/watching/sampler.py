"""A thread for what can block on the outputs volume: system samples, and looking for finished captures."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Callable, Mapping

from ftjob_agent import linux, outputs
from ftjob_protocol import files

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig, RankSpec

SECONDS = 1.0
TREE_EVERY = 10
"""The ranks' children are looked up anew every so many samples."""


class Sampler(threading.Thread):
    """Samples the ranks that are profiled, once a second, until it is told to end."""

    def __init__(
        self,
        config: AgentConfig,
        pids: Callable[[], Mapping[int, int]],
        on_captures: Callable[[dict[str, list[int]]], None],
    ) -> None:
        super().__init__(name="ftjob-sampler", daemon=True)
        self._config = config
        self._pids = pids
        self._on_captures = on_captures
        self._specs = config.profiled()
        self._done: dict[str, list[int]] = {}
        self._ended = threading.Event()
        self._wanted: dict[str, list[int]] = {}

    def end(self) -> None:
        """Look for captures once more and stop."""
        self._ended.set()

    def request(self, captures: dict[str, list[int]]) -> None:
        """Let the requests of these captures, with the ranks that take part, be written (the leader does)."""
        self._wanted = captures

    def run(self) -> None:
        """Sample until the end; an outputs volume that fails costs only the samples."""
        assert self._config.profiling is not None
        samples = _Samples(self._config, self._specs) if "System" in self._config.profiling.tools else None
        count = 0
        while True:
            ended = self._ended.is_set()
            try:
                if samples is not None and not ended:
                    samples.take(self._pids(), renew=count % TREE_EVERY == 0)
                self._look_for_captures()
            except OSError:
                pass
            if ended:
                return
            count += 1
            self._ended.wait(SECONDS)

    def _look_for_captures(self) -> None:
        for capture, ranks in self._wanted.items():
            outputs.write_request(self._config, capture, ranks)
        done = outputs.captures_done(self._config, self._specs)
        if done != self._done:
            self._done = done
            self._on_captures(done)


class _Samples:
    """Appends lines to each rank's file in the outputs."""

    def __init__(self, config: AgentConfig, specs: tuple[RankSpec, ...]) -> None:
        from ftjob_agent.watching.nvml import Gpus

        self._specs = specs
        self._config = config
        self._cgroup = linux.Cgroup()
        self._gpus = Gpus()
        self._trees: dict[int, list[int]] = {}

    def take(self, pids: Mapping[int, int], *, renew: bool) -> None:
        """Write one line for each rank that runs."""
        if renew:
            table = linux.children()
            self._trees = {rank: linux.descendants(pid, table) for rank, pid in pids.items()}
        pod = self._cgroup.sample()
        gpus = self._gpus.sample()
        if gpus:
            pod["gpus"] = gpus
        for spec in self._specs:
            if spec.rank in pids:
                self._append(spec, self._trees.get(spec.rank, [pids[spec.rank]]), pod)

    def _append(self, spec: RankSpec, tree: list[int], pod: dict[str, object]) -> None:
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
        file = outputs.open_file(self._config, files.samples(spec.rank))
        try:
            os.write(file, json.dumps(line).encode() + b"\n")
        finally:
            os.close(file)
