"""From the clocks of real ranks to a window, as agents and their leader make it."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from insight.plan import BLOCK
from insight.planted import QUIET

from ftjob_agent import linux
from ftjob_diagnosis.window import Block, Line, RankBlock, Seen, Step, Window
from ftjob_protocol import files
from ftjob_protocol.vitals import clock, where

if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import Popen

TICK_S = 0.25
GRAPHS_EVERY = 8
"""Looks."""
PER_TICK = 1000 / os.sysconf("SC_CLK_TCK")


class Watch(threading.Thread):
    """Looks at the ranks four times a second, from outside."""

    def __init__(self, folders: Sequence[Path] = (), ranks: Sequence[Popen[bytes]] = ()) -> None:
        super().__init__(daemon=True)
        self.folders, self.ranks = folders, ranks
        self.records: list[dict[int, clock.StepRecord]] = [{} for _ in folders]
        self.heads = [0] * len(folders)
        self.hosts: list[list[tuple[int, float, float, float, int]]] = [[] for _ in folders]
        """When; CPU time, that of graphs, and run delay so far in ms; memory."""
        self.graphs: dict[int, list[int]] = {}
        self.looks = 0
        self.lines: list[list[tuple[int, tuple[Line, ...]]]] = [[] for _ in folders]
        self.probe: list[tuple[int, float, float]] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(TICK_S):
            self.look()
            began, spent = time.perf_counter(), time.thread_time()
            while time.thread_time() - spent < 0.002:
                pass
            self.probe.append((time.time_ns(), time.perf_counter() - began, time.thread_time() - spent))

    def look(self) -> None:
        if self.looks % GRAPHS_EVERY == 0:
            self.graphs = {process.pid: linux.graph_threads(process.pid) for process in self.ranks}
        self.looks += 1
        for rank, (folder, process) in enumerate(zip(self.folders, self.ranks, strict=True)):
            pid = process.pid
            found = clock.read(str(folder / files.CLOCK), self.heads[rank])
            if found is not None:
                self.heads[rank] = found.head
                self.records[rank].update({record.step: record for record in found.records})
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                delay = int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e6
                rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            except OSError:
                continue
            cpu = (int(fields[11]) + int(fields[12])) * PER_TICK
            graph = 1000 * linux.threads_seconds(pid, self.graphs[pid])
            self.hosts[rank].append((time.time_ns(), cpu, graph, delay, rss))
            lines = where.read(str(folder / files.WHERE))
            if lines:
                self.lines[rank].append((time.time_ns(), tuple(Line(*each) for each in lines.lines)))

    def contended(self, first: int, last: int) -> float:
        """Return for which share of its time an idle process waited for a core, meanwhile."""
        shares = [1 - cpu / wall for at, wall, cpu in self.probe if first <= at <= last and wall > 0]
        return median(shares) if shares else 0.0

    def window(self, begin: int, steps: int, strategy: str, limit: int | None = None) -> Window | None:
        """Return the window of one placement, that begins with this step; None if a rank has no clock."""
        blocks = []
        numbers = range(begin + QUIET, begin + steps)
        for number, first in enumerate(range(numbers[0], numbers[-1] + 2 - BLOCK, BLOCK)):
            rows = [self._row(rank, range(first, first + BLOCK)) for rank in range(len(self.folders))]
            blocks.append(Block(number, tuple(row for row in rows if row is not None)))
        if not any(block.ranks for block in blocks):
            return None
        found = [step for row in blocks[-1].ranks for step in row.steps]
        seen = Seen(
            input=any(step.input_ms is not None for step in found),
            collectives=any(step.blocked_ms is not None for step in found),
        )
        return Window(tuple(blocks), len(self.folders), strategy, seen=seen, memory_limit_bytes=limit)

    def _row(self, rank: int, numbers: range) -> RankBlock | None:
        records = [self.records[rank][number] for number in numbers if number in self.records[rank]]
        if not records:
            return None
        start, end = records[0].end_ns - 1000 * records[0].step_us, records[-1].end_ns
        used = [now - then for now, then in zip(self._host(rank, end), self._host(rank, start), strict=True)]
        lines = [each for at, each in self.lines[rank] if at <= end + 3 * 10**9]
        steps = tuple(
            Step(r.step, r.step_ms, r.input_ms, r.own_ms, r.blocked_ms, r.collectives, r.flags & 3)
            for r in records
        )
        return RankBlock(
            rank,
            "node-0",
            steps,
            cpu_ms=used[0] / len(numbers),
            graph_ms=used[1] / len(numbers) if self.graphs[self.ranks[rank].pid] else None,
            run_delay_ms=used[2] / len(numbers),
            rss_bytes=self._rss(rank, end),
            where=lines[-1] if lines else (),
            start_s=start / 1e9,
            end_s=end / 1e9,
        )

    def _host(self, rank: int, at: int) -> list[float]:
        """Return CPU time, that of graphs, and run delay at a time, between the two looks around it."""
        looks = self.hosts[rank]
        place = min(max(1, bisect_left(looks, (at,))), len(looks) - 1)
        (t0, *then, _), (t1, *now, _) = looks[place - 1], looks[place]
        part = (at - t0) / (t1 - t0)
        return [low + part * (high - low) for low, high in zip(then, now, strict=True)]

    def _rss(self, rank: int, at: int) -> int:
        looks = self.hosts[rank]
        return looks[max(0, bisect_left(looks, (at,)) - 1)][-1]  # what comes after it is not the placement's
