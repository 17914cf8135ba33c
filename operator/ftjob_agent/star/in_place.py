"""The leader's book where ranks that have failed may be started again in the same pods.

When a rank fails the leader does not tell all agents to end, but to halt: each ends its ranks and says so.
When all have, the operator is told, which decides (``restart`` of the job), writes down that another attempt
follows, and only then says ``start``. Whatever else happens meanwhile ends the agents as a failure always
does, and their pods are made anew: a halted job must never hold its GPUs for nothing.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

from ftjob_agent.star.book import Book, Key, Member, RefusedError
from ftjob_protocol.failures import Failure, first
from ftjob_protocol.states import Command, State

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig, InPlace
    from ftjob_protocol.leader_state import LeaderState


class InPlaceBook(Book):
    """The book of a job whose ranks may have several lives in one of the agents."""

    def __init__(self, config: AgentConfig, wait: InPlace, now: float) -> None:
        super().__init__(config, now)
        self._wait = wait
        self._ordered = config.attempt
        self._start_at: Optional[float] = None
        self._give_up_at: Optional[float] = None
        self._longest = 0.0
        self._was_halted = False
        self.is_watched = False
        """Whether the operator has ever asked: one that can't reach this pod is not waited for long."""

    @property
    def is_halted(self) -> bool:
        """Whether every agent has said that its ranks are dead."""
        halted = all(member.state == State.HALTED for member in self.members.values())
        return self.command == Command.HALT and self.all_known and halted

    def hear(self, key: Key, data: dict[str, Any], now: float) -> bool:
        """Take in a message; of an agent that has not yet heard of the new attempt only that it lives."""
        member = self.members.get(key)
        is_late = data.get("attempt") in range(self._config.attempt, self.attempt)
        if is_late and member is not None and member.life == data.get("life"):
            member.heard = now
            return False
        return super().hear(key, data, now)

    def stop(self, reason: Failure) -> None:
        """Halt the attempt if its ranks can be started again, else end it."""
        if not self._may_halt(reason):
            super().stop(reason)
            return
        chosen = first((reason, self.failure))  # of the same failure the last word
        if self.command != Command.HALT or chosen != self.failure:
            self.command, self.failure = Command.HALT, chosen
            self._bump()

    def give_up(self, why: str) -> None:
        """End the attempt after all."""
        if self.command == Command.HALT and self.failure is not None:
            sys.stderr.write(f"ftjob: the ranks are not started again in place: {why}\n")
            super().stop(self.failure)

    def order_start(self, attempt: int, wait: float, now: float) -> None:
        """Have the ranks started again in so many seconds, once."""
        if attempt <= self._ordered:
            return
        if attempt != self.attempt + 1 or not self.is_halted:
            raise RefusedError(f"attempt {self.attempt} is {self._state()}, so {attempt} cannot start here")
        self._ordered = attempt
        self._start_at, self._give_up_at = now + wait, now + wait + self._wait.patience
        self.version += 1
        self._look(now)

    def order_end(self, attempt: int) -> None:
        """End a halted attempt, unless the next one was ordered."""
        if attempt == self.attempt == self._ordered and self.command == Command.START:
            raise RefusedError(f"the ranks of attempt {attempt} run")
        if attempt == self.attempt == self._ordered:
            self.give_up("the operator says so")

    def lost(self, now: float) -> Optional[Failure]:
        """Return why the attempt can't go on."""
        self._look(now)
        return super().lost(now)

    def next_look(self, now: float) -> float:
        """Return when `lost` may change without a message."""
        looks = [super().next_look(now)]
        if self.command == Command.HALT:
            looks += [when for when in (self._start_at, self._give_up_at) if when is not None and when > now]
        return min(looks)

    def leader_state(self) -> LeaderState:
        """Return what the operator is told."""
        return replace(super().leader_state(), ordered=self._ordered)

    def _state(self) -> str:
        if self.command == Command.HALT:
            return State.HALTED if self.is_halted else State.HALTING
        return super()._state()

    def _judge(self, key: Key, member: Member, now: float) -> None:
        super()._judge(key, member, now)
        if self.command == Command.HALT and member.has_ended:
            self.give_up(f"agent {key[0]}-{key[1]} has ended")

    def _start_if_ready(self, now: float) -> None:
        super()._start_if_ready(now)
        self._look(now)

    def _may_halt(self, reason: Failure) -> bool:
        if self.command not in {Command.START, Command.HALT} or reason.rank is None or not self.all_known:
            return False
        return not any(member.has_ended for member in self.members.values())

    def _look(self, now: float) -> None:
        """Do what the time has come for."""
        if self.command != Command.HALT:
            return
        if self._give_up_at is None:
            self._give_up_at = now + self._wait.acknowledge
            self._longest = self._give_up_at + self._config.exception_grace
        if self.is_halted and not self._was_halted:
            self._was_halted = True
            patience = self._wait.patience if self.is_watched else self._wait.acknowledge
            self._give_up_at = now + patience
        if self._start_at is not None and now >= self._start_at and self.is_ready:
            self._begin()
        elif now >= self._give_up_at and not self._is_patient(now):
            self.give_up("nobody has said so in time" if self._was_halted else self._who_is_late())

    def _is_patient(self, now: float) -> bool:
        """Whether one is waited for that does what it does at its end, after an exception."""
        goes_on = any(
            member.failure.rank is not None and member.ranks.get(member.failure.rank) == State.RUNNING
            for member in self.members.values()
            if member.failure is not None
        )
        if self._was_halted or not goes_on or now >= self._longest:
            return False
        self._give_up_at = min(now + self._wait.acknowledge, self._longest)
        return True

    def _who_is_late(self) -> str:
        late = sorted(key for key, member in self.members.items() if member.state != State.HALTED)
        names = ", ".join(f"{role}-{index}" for role, index in late[:10])
        return f"after {self._wait.acknowledge:g} s the ranks of {names} are not known to be dead"

    def _begin(self) -> None:
        self.attempt, self.command, self.failure = self._ordered, Command.START, None
        self._start_at = self._give_up_at = None
        self._was_halted = False
        self.stacks_asked = 0
        self.members = {
            key: replace(
                member, state=State.WAITING, ranks={}, failure=None, progress=None, idle=None, stacks=None
            )
            for key, member in self.members.items()
        }
        self._bump()
