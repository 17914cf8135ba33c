"""The vitals of this agent's ranks: looked at in a thread, told from the agent's loop."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

from ftjob_agent.vitals.cutter import Cut, Cutter
from ftjob_agent.vitals.diary import Diary
from ftjob_agent.vitals.signals import Signals
from ftjob_protocol import files
from ftjob_protocol.vitals import clock
from ftjob_protocol.vitals.block import BLOCKS_TOLD, Lengths, Report
from ftjob_protocol.vitals.history import last_steps

if TYPE_CHECKING:
    from ftjob_agent.loop import Loop
    from ftjob_agent.ranks.supervise import Rank
    from ftjob_protocol.agent_config import AgentConfig

SECONDS = 1.0
"""Between two looks."""


class Vitals(threading.Thread):
    """Looks at the ranks' clocks once a second, and at what they use.

    GPUs and ``/proc`` may take their time, so it has a thread of its own; all else is done in the loop.

    Parameters
    ----------
    ranks
        Returns the ranks that run.
    note
        Keeps what somebody should read at the end.
    """

    def __init__(
        self,
        config: AgentConfig,
        loop: Loop,
        *,
        node: str,
        ranks: Callable[[], Sequence[Rank]],
        note: Callable[[str], None],
    ) -> None:
        super().__init__(name="ftjob-vitals", daemon=True)
        self._loop, self._ranks, self._node, self._note = loop, ranks, node, note
        self._attempt, self._world = config.attempt, config.world_size
        self._lengths = Lengths()
        self._memory_limit: Optional[int] = None
        self._cutters: dict[int, Cutter] = {}
        self._untold: list[tuple[Cut, Optional[int]]] = []
        """With the number of the message that first had it."""
        self._own_ranks = max(1, len(config.ranks))
        self._most = BLOCKS_TOLD * len(config.ranks)
        self._ended = threading.Event()
        self._diary: Optional[Diary] = None
        if config.outputs:
            self._diary = Diary(config, node, lambda text: loop.post(lambda: note(text)))
            self._diary.start()

    # In the agent's loop.

    def follow(self, lengths: Lengths) -> None:
        """Cut blocks of so many steps from now on; 0: the leader does not know yet."""
        self._lengths = lengths

    def begin_anew(self, attempt: int) -> None:
        """Forget what ranks have done that others are started in place of."""
        self._attempt, self._untold = attempt, []

    def told(self, message: int, delivered: int) -> dict[str, Any]:
        """Return what the leader is told beside the rest.

        Parameters
        ----------
        message
            The number of the message.
        delivered
            That of the last one that the leader has.
        """
        left = [(cut, first) for cut, first in self._untold if first is None or first > delivered]
        self._untold = [(cut, message if first is None else first) for cut, first in left]
        blocks = tuple(cut.block for cut, _ in self._untold)
        return {"vitals": Report(self._node, self._memory_limit, blocks).as_json()} if blocks else {}

    def keep_last_steps(self, failed: Sequence[Rank]) -> None:
        """Put the last steps of ranks that have failed beside their logs."""
        for rank in failed:
            steps = clock.last(os.path.join(rank.dir, files.CLOCK))
            if steps and self._diary is not None:
                self._diary.keep_last(rank.spec.rank, last_steps(self._attempt, rank.spec.rank, steps))

    def end(self, seconds: float) -> None:
        """Look no more, and give the volume so much time to take what waits."""
        self._ended.set()
        if self._diary is not None:
            self._diary.end()
            self._diary.join(seconds)

    def _take(self, attempt: int, cuts: Sequence[Cut]) -> None:
        if attempt != self._attempt:
            return
        running = {rank.spec.rank for rank in self._ranks()}
        self._untold += [(cut, None) for cut in cuts]
        left = [(cut, first) for cut, first in self._untold if cut.block.rank in running]
        self._untold = left[-self._most :]
        limit = None if self._memory_limit is None else self._memory_limit // self._own_ranks
        for cut in cuts:
            if self._diary is not None:
                self._diary.keep(attempt, cut, limit)

    # In its own thread.

    def run(self) -> None:
        """Look until the end; what goes wrong costs a look."""
        signals = Signals()
        self._memory_limit = signals.memory_limit
        while not self._ended.wait(SECONDS):
            try:
                self._look(signals)
            except Exception as error:  # a defect of ours must not take anything from the ranks
                self._loop.post(partial(self._note, f"vitals: {type(error).__name__}: {error}"))
                self._ended.wait(60 * SECONDS)

    def _look(self, signals: Signals) -> None:
        attempt, ranks = self._attempt, list(self._ranks())
        used = signals.take(ranks)
        pids = {rank.process.pid for rank in ranks}
        self._cutters = {pid: cutter for pid, cutter in self._cutters.items() if pid in pids}
        cuts: list[Cut] = []
        for rank in ranks:
            pid = rank.process.pid
            if pid not in self._cutters:
                self._cutters[pid] = Cutter(rank.spec.rank, rank.dir, self._world)
            self._cutters[pid].look(used.get(pid))
            if self._lengths.length:
                cuts += self._cutters[pid].cut(self._lengths)
        if cuts:
            self._loop.post(lambda: self._take(attempt, cuts))
