"""Writes the blocks of this agent's ranks to the outputs, in a thread of its own: a volume may hang.

The volume is shared by all ranks of the job, and may be a small file server: lines wait in memory until their
turn comes.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Optional

from ftjob_agent import outputs
from ftjob_protocol import files
from ftjob_protocol.vitals.history import line

if TYPE_CHECKING:
    from ftjob_agent.bounded_file import BoundedFile
    from ftjob_agent.vitals.cutter import Cut
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.vitals.block import RankBlock
    from ftjob_protocol.vitals.clock import StepRecord

LIMIT = 4 * 1024 * 1024
"""Most bytes of one rank's lines in the outputs: the first ones and the last ones."""
DOUBLED_EVERY = 256
"""After so many lines of a rank, a line is about twice as many blocks."""
STEPS_MAX = 8192
"""Steps of a line; of more only every second one counts."""
WRITES_A_SECOND = 2
"""Of all ranks of the job together: what system samples leave of ten."""
LEAST_SECONDS = 10.0
WAITING_BYTES = 256 * 1024
"""Of one rank's lines that wait, the newest."""
GOLDEN = 0.618
"""Its multiples are spread evenly: agents that start together do not write together."""


class Lines:
    """The lines of one rank."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._count = 0
        self._cuts: list[Cut] = []

    def add(self, attempt: int, cut: Cut, memory_limit: Optional[int] = None) -> bytes:
        """Return the next line if this block completes it, or nothing; `memory_limit` is the rank's share."""
        if self._cuts and self._cuts[-1].block.first >= cut.block.first:
            self._cuts = []  # another life
        self._cuts.append(cut)
        if len(self._cuts) < 1 << self._count // DOUBLED_EVERY:
            return b""
        cuts, self._cuts = self._cuts, []
        self._count += 1
        steps = _thinned([step for found in cuts for step in found.steps])
        return line(attempt, self._node, _together(cuts), steps, memory_limit)


class Diary(threading.Thread):
    """Takes blocks from the agent's loop."""

    def __init__(self, config: AgentConfig, node: str, note: Callable[[str], None]) -> None:
        super().__init__(name="ftjob-diary", daemon=True)
        self._config, self._note = config, note
        self._lock = threading.Lock()
        self._lines: dict[int, Lines] = defaultdict(lambda: Lines(node))
        self._waiting: dict[int, list[bytes]] = defaultdict(list)
        self._files: dict[int, BoundedFile] = {}
        self._failed: set[int] = set()
        self._last: dict[int, str] = {}
        self._woken, self._is_over = threading.Event(), False
        self._period = max(LEAST_SECONDS, config.world_size / WRITES_A_SECOND)

    def keep(self, attempt: int, cut: Cut, memory_limit: Optional[int]) -> None:
        """Have a block written down; from the agent's loop."""
        rank = cut.block.rank
        with self._lock:
            if rank in self._failed:
                return
            waiting = self._waiting[rank]
            waiting.append(self._lines[rank].add(attempt, cut, memory_limit))
            while sum(map(len, waiting)) > WAITING_BYTES:
                del waiting[0]

    def keep_last(self, rank: int, text: str) -> None:
        """Have it written down at once what the last steps of a rank took that has failed."""
        with self._lock:
            self._last[rank] = text
        self._woken.set()

    def end(self) -> None:
        """Write what waits, and stop."""
        self._is_over = True
        self._woken.set()

    def run(self) -> None:
        """Write until the end; a volume that fails costs only the lines."""
        due = time.monotonic() + self._period * ((self._config.index * GOLDEN) % 1 or 1)
        while not self._is_over:
            if self._woken.wait(max(0.0, due - time.monotonic())):
                self._woken.clear()
            else:
                due += self._period
                self._write()
            self._write_last()
        self._write_last()
        self._write()
        for file in self._files.values():
            file.close()

    def _write(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(list)
        for rank, lines in waiting.items():
            text = b"".join(lines)
            if not text or rank in self._failed:
                continue
            try:
                self._file(rank).write(text)
            except OSError as error:
                self._give_up(rank, error)

    def _write_last(self) -> None:
        with self._lock:
            last, self._last = self._last, {}
        for rank, text in last.items():
            try:
                outputs.write_file(self._config, files.last_steps(rank), text)
            except OSError as error:
                why = error.strerror or type(error).__name__
                self._note(f"{files.last_steps(rank)} in the outputs is not written: {why}")

    def _file(self, rank: int) -> BoundedFile:
        if rank not in self._files:
            file = outputs.bounded_file(self._config, files.vitals(rank), LIMIT)
            file.open()
            self._files[rank] = file
        return self._files[rank]

    def _give_up(self, rank: int, error: OSError) -> None:
        with self._lock:
            self._failed.add(rank)
        file = self._files.pop(rank, None)
        if file is not None:
            file.close()
        why = error.strerror or type(error).__name__
        self._note(f"{files.vitals(rank)} in the outputs is not written any more: {why}")


def _together(cuts: list[Cut]) -> RankBlock:
    """Return one block in place of several that follow each other."""
    first, last = cuts[0].block, cuts[-1].block
    return replace(
        last,
        first=first.first,
        length=sum(found.block.length for found in cuts),
        start_s=first.start_s,
        cpu_ms=_mean([found.block.cpu_ms for found in cuts]),
        graph_ms=_mean([found.block.graph_ms for found in cuts]),
        run_delay_ms=_mean([found.block.run_delay_ms for found in cuts]),
        throttled_ms=_mean([found.block.throttled_ms for found in cuts]),
        is_first=first.is_first,
    )


def _mean(values: list[Optional[float]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _thinned(steps: list[StepRecord]) -> list[StepRecord]:
    while len(steps) > STEPS_MAX:
        steps = steps[::2]
    return steps
