"""What one agent knows of its ranks, in the forms in which it tells others."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any, Optional, Sequence

from ftjob_agent.watching.rank_folder import RankProgress, Reader, captured, hook_notes, steady_seconds
from ftjob_protocol import VERSION
from ftjob_protocol.states import State
from ftjob_protocol.termination import TerminationMessage
from ftjob_protocol.values.ranges import to_ranges

if TYPE_CHECKING:
    from ftjob_agent.ranks.supervise import Rank
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.failures import Failure

NOTES = 8


class Account:
    """RankProgress, captures and notes of this agent's ranks.

    Parameters
    ----------
    host
        Where the agent runs, for people.
    """

    def __init__(self, host: str = "") -> None:
        self._host = host
        self.captures: dict[str, list[int]] = {}
        """Which of these ranks have finished a capture, in this attempt or an earlier one of this agent."""
        self._readers: dict[int, Reader] = {}
        self.progress: dict[int, RankProgress] = {}
        self._steady: dict[int, float] = {}
        """Of ranks on JAX of which no step is counted."""
        self._notes: dict[str, None] = {}
        self._warning = ""
        self._life = f"{socket.gethostname()}/{os.getpid()}/{time.time_ns()}"
        self._sequence = 0

    def note(self, text: str) -> None:
        """Keep what someone should read at the end."""
        self._notes[text[:500]] = None

    def warn(self, text: str) -> None:
        """Note what the operator should tell of a success."""
        self._warning = self._warning or text
        self.note(text)

    def begin_anew(self) -> None:
        """Forget how far the ranks were: others are started in their place."""
        self._readers, self.progress, self._steady = {}, {}, {}

    def look(self, ranks: Sequence[Rank]) -> None:
        """Read what the ranks have left."""
        self._steady = {}
        for rank in ranks:
            number = rank.spec.rank
            self.progress[number] = self._readers.setdefault(number, Reader(rank.dir)).read()
            if self.progress[number].counted is None:
                seconds = steady_seconds(rank.dir)
                if seconds is not None:
                    self._steady[number] = seconds
            for capture in captured(rank.dir):
                done = self.captures.setdefault(capture, [])
                if number not in done:
                    done.append(number)
                    done.sort()
            for note in hook_notes(rank.dir):
                self.note(f"rank {number}: {note}")

    def message(
        self, config: AgentConfig, state: str, failure: Optional[Failure], ranks: Sequence[Rank]
    ) -> dict[str, Any]:
        """Return what the leader is told."""
        self._sequence += 1
        started = {rank.spec.rank: rank.state for rank in ranks}
        unstarted = State.WAITING if state in {State.WAITING, State.RUNNING} else State.STOPPED
        # The ranks of an elastic job are those that were ordered last.
        specs = config.ranks if config.elastic is None else [rank.spec for rank in ranks]
        lowest, progress = self._lowest()
        return {
            "version": VERSION,
            "attempt": config.attempt,
            "life": self._life,
            "host": self._host,
            "sequence": self._sequence,
            "state": state,
            "ranks": [self._rank(spec.rank, started.get(spec.rank, unstarted)) for spec in specs],
            "failure": failure.as_json() if failure else None,
            "captures": {capture: list(ranks) for capture, ranks in self.captures.items()},
            "profiled": [spec.rank for spec in specs if config.is_capturing and config.is_profiled(spec)],
            "progress": {"rank": lowest, **progress.as_json()} if progress else None,
            "notes": list(self._notes)[:NOTES],
        }

    def termination_message(
        self, config: Optional[AgentConfig], state: str, failure: Optional[Failure]
    ) -> TerminationMessage:
        """Return the termination message."""
        _, progress = self._lowest()
        return TerminationMessage(
            attempt=config.attempt if config else 0,
            role=config.role if config else "",
            index=config.index if config else 0,
            state=state,
            failure=failure,
            progress=progress.as_json() if progress else None,
            captures={capture: to_ranges(ranks) for capture, ranks in self.captures.items()},
            notes=list(self._notes)[:NOTES],
            warning=self._warning,
        )

    def _lowest(self) -> tuple[int, Optional[RankProgress]]:
        """Return the lowest rank that has told anything."""
        known = [(rank, progress) for rank, progress in self.progress.items() if progress.is_known]
        return min(known, key=lambda item: item[0]) if known else (0, None)

    def _rank(self, rank: int, state: str) -> dict[str, Any]:
        progress = self.progress.get(rank, RankProgress())
        told = {"rank": rank, "state": state, "step": progress.step, "timeNs": progress.time_ns}
        if rank in self._steady:
            told["steadySeconds"] = round(self._steady[rank], 1)
        # Captures begin at a step that the hooks count, whatever the script says of its own.
        return told if progress.counted == progress.step else {**told, "counted": progress.counted}
