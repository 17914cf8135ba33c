"""An agent's side of an elastic job: the processes that the leader's last answer names, and no others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from ftjob_agent.ranks import environment
from ftjob_protocol.states import State
from ftjob_protocol.variables import Number

if TYPE_CHECKING:
    from ftjob_agent.ranks.supervise import Rank, Supervisor
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.rank_spec import RankSpec

Start = Callable[["RankSpec"], "Rank"]


class Slots:
    """Starts and ends ranks as the leader wants them; all of it happens in the agent's loop."""

    def __init__(
        self, config: AgentConfig, supervisor: Supervisor, environ: Mapping[str, str], start: Start
    ) -> None:
        self._config, self._supervisor, self._environ = config, supervisor, environ
        self._start = start
        self._ranks: dict[str, Rank] = {}
        self._kill_at: dict[str, float] = {}
        self._wanted: list[dict[str, Any]] = []
        self._followed = 0

    def follow(self, answer: tuple[int, list[dict[str, Any]]], now: float) -> None:
        """Come one step nearer to what an answer says."""
        self._followed, self._wanted = answer
        names = {str(slot["id"]) for slot in self._wanted}
        for name, rank in list(self._ranks.items()):
            if name not in names:
                self._end(name, rank, now)
        for slot in self._wanted:
            busy = {rank.spec.local_rank for rank in self._ranks.values()}
            if str(slot["id"]) not in self._ranks and slot["localRank"] not in busy:
                spec = self._spec(slot)
                environment.make_rank_dir(self._config, spec, self._environ)
                self._ranks[str(slot["id"])] = self._start(spec)

    def told(self) -> dict[str, Any]:
        """Return what the leader is told."""
        return {
            "slots": {name: self._state(rank) for name, rank in self._ranks.items()},
            "followed": self._followed,
        }

    def next_look(self) -> Optional[float]:
        """Return when a rank that was told to end has had its time."""
        return min(self._kill_at.values(), default=None)

    @property
    def have_failed(self) -> bool:
        """Whether a rank has failed by itself, which another group would not mend."""
        return any(
            self._state(rank) == State.FAILED and (found := rank.failure()) is not None and found.is_primary
            for rank in self._ranks.values()
        )

    @property
    def have_succeeded(self) -> bool:
        """Whether all slots of this agent have succeeded."""
        states = {self._state(rank) for rank in self._ranks.values()}
        return len(self._ranks) == len(self._wanted) and states == {State.SUCCEEDED}

    def _spec(self, slot: Mapping[str, Any]) -> RankSpec:
        planned = next(spec for spec in self._config.ranks if spec.local_rank == slot["localRank"])
        env = dict(planned.env)
        for name, number in slot["numbers"].items():
            env = {key: value.replace(Number(name).placeholder, str(number)) for key, value in env.items()}
        return replace(planned, rank=int(slot["rank"]), env=env)

    def _end(self, name: str, rank: Rank, now: float) -> None:
        if name not in self._kill_at:
            # Nobody waits for what a rank leaves behind that has ended by itself.
            self._kill_at[name] = now if rank.code is not None else now + self._config.stop_grace
        if self._supervisor.stop(rank):
            del self._ranks[name]
            del self._kill_at[name]
            self._supervisor.ranks.remove(rank)
        elif now >= self._kill_at[name]:
            self._kill_at[name] = now + 1
            self._supervisor.kill(rank)

    def _state(self, rank: Rank) -> str:
        if rank.stopped_ns:
            return State.RUNNING if rank.code is None or rank.has_left else State.STOPPED
        if rank.code is None and rank.has_failed:
            # Its slot is not for another one before it is known to be dead, but who fails fails at once.
            found = rank.failure()
            is_victim = found is not None and not found.is_primary
            goes_on = rank.goes_on(time.monotonic(), self._config.exception_grace)
            return State.RUNNING if is_victim and goes_on else State.FAILED
        if rank.has_failed:
            return State.FAILED
        return State.RUNNING if rank.code is None else State.SUCCEEDED
