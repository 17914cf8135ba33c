"""The leader's side of an elastic job: who is there, and which slots its agents are to run.

A *slot* is one process at one place in an agent. The leader says what runs: each of its answers names
the slots that the agent is to have, by ids that are never used again. An agent ends the slots that an answer
no longer names and starts those that are new. Whoever decides on the slots is a *conductor*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Protocol

from ftjob_agent.exit import stopped
from ftjob_agent.star.book import Book, Key, Member, NotYetError, RefusedError, hold_seconds
from ftjob_protocol.failures import Failure, FailureType, first
from ftjob_protocol.states import Command, State
from ftjob_protocol.variables import Number

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig, Elastic

ENOUGH_SECONDS = 10.0
"""How long the start waits for the other agents that are wanted, once there are enough."""
SETTLE_SECONDS = 3.0
"""How long newcomers wait for others: two that come together should cost one change."""
KILL_SECONDS = 1.5
"""How long it may take until ranks are dead once their agent ends them without a grace period."""
FRUITLESS_CHANGES = 3
"""So many times ranks may blame a lost peer, one after the other, while every agent stays."""

AgentSlots = dict[Key, list[dict[str, Any]]]


class Conductor(Protocol):
    """Who decides which slots run."""

    def hear(self, said: dict[str, Any]) -> None:
        """Take in what the child says that serves the rendezvous, if there is one."""

    def look(self, now: float) -> None:
        """Have run what has become necessary."""

    def next_look(self, now: float) -> float:
        """Return when `look` may find something without a message."""


class ElasticBook(Book):
    """The book of an elastic job: agents come and go, as long as the leader and enough others stay."""

    def __init__(self, config: AgentConfig, bounds: Elastic, now: float) -> None:
        super().__init__(config, now)
        self.own_key: Key = (config.role, config.index)
        self.processes = len(config.ranks)
        self._bounds = bounds
        # Others begin in its place, so it has to be dead: it counts from an answer that it may have got after
        # its last message, and kills its ranks some time later.
        self.lost_after = config.contact_timeout + hold_seconds(config) + KILL_SECONDS
        self._slots: AgentSlots = {}
        self._enough_since: Optional[float] = None
        self._is_finishing = False
        self._replaced: set[str] = set()

    def present(self, now: float) -> tuple[Key, ...]:
        """Return the agents that can have slots, in rank order."""
        return tuple(sorted(key for key, member in self.members.items() if self._is_present(member, now)))

    @property
    def is_finishing(self) -> bool:
        """Whether a slot has succeeded: from then on nobody joins, and none may be lost."""
        return self._is_finishing

    def set_slots(self, slots: AgentSlots) -> None:
        """Let the agents run these slots and no others."""
        if slots != self._slots:
            self._slots = slots
            self._bump()

    def slots_of(self, key: Key) -> list[dict[str, Any]]:
        """Return the slots that an agent is to run."""
        return self._slots.get(key, [])

    def answer(self, key: Key) -> dict[str, Any]:
        """Return what an agent is told; who comes when the training ends has nothing to do any more."""
        told = super().answer(key) | {"slots": self.slots_of(key)}
        if self._is_finishing and self.command == Command.START and not told["slots"]:
            reason = stopped("the training was over when this agent came", FailureType.JOB_SUCCEEDED)
            return told | {"command": Command.STOP, "failure": reason.as_json()}
        return told

    @property
    def all_known(self) -> bool:
        """Whether nobody is waited for any more."""
        return self.command != Command.WAIT

    def lost(self, now: float) -> Optional[Failure]:
        """Return why the attempt can't go on."""
        self._start_if_ready(now)
        self._silent(now)
        return self._too_few(now) if self.command == Command.START else super().lost(now)

    def next_look(self, now: float) -> float:
        """Return when `lost` may change without a message."""
        looks = [super().next_look(now)]
        if self.command == Command.WAIT and self._enough_since is not None:
            looks.append(self._enough_since + ENOUGH_SECONDS)
        return min(looks)

    def _is_present(self, member: Member, now: float) -> bool:
        return not member.has_ended and not self.is_lost(member, now)

    def _admit(self, key: Key, member: Optional[Member], life: str, now: float) -> None:
        role, most = self.own_key[0], self._bounds.max_workers
        if key[0] != role or key[1] >= most:
            raise RefusedError(f"{key[0]}-{key[1]} is not one of {role}-0 to {role}-{most - 1}")
        if member is None or member.life == life:
            return
        if life in self._replaced:
            raise RefusedError(f"another agent is {key[0]}-{key[1]} by now")
        if self._is_present(member, now) and State.RUNNING in member.slots.values():
            raise NotYetError(f"the agent that was {key[0]}-{key[1]} before still has ranks")
        self._replaced.add(member.life)

    def _judge(self, key: Key, member: Member, now: float) -> None:
        if State.SUCCEEDED in member.slots.values() and not self._is_finishing:
            self._is_finishing = True
            self._bump()  # those who have nothing to do may go
        if key == self.own_key:
            super()._judge(key, member, now)
            return
        if (
            self.command == Command.START
            and member.state in {State.FAILED, State.STOPPED}
            and self._is_finishing
        ):
            if self.slots_of(key):
                super()._judge(key, member, now)
            return
        found = self._too_few(now) if self.command == Command.START else None
        if found is not None:
            self.stop(found)

    def _too_few(self, now: float) -> Optional[Failure]:
        """Return why the attempt ends if too few agents remain."""
        left = [m for m in self.members.values() if self._is_present(m, now) or m.state == State.SUCCEEDED]
        least = self._bounds.min_workers
        if len(left) >= least:
            return None
        text = f"{len(left)} workers remain, and elastic.minWorkers is {least}"
        silent = [key for key, m in self.members.items() if not m.has_ended and self.is_lost(m, now)]
        if silent:
            text += f"; no word from {', '.join(self._described(key) for key in sorted(silent))}"
        return first([*(m.failure for m in self.members.values()), stopped(text, FailureType.LOST_CONTACT)])

    def _start_if_ready(self, now: float) -> None:
        if self.command != Command.WAIT or not self.is_ready:
            return
        there = self.present(now)
        if self.own_key not in there or len(there) < self._bounds.min_workers:
            self._enough_since = None
            return
        if self._enough_since is None:
            self._enough_since = now
        if len(there) >= self._config.agents or now >= self._enough_since + ENOUGH_SECONDS:
            self.command = Command.START
            self._bump()

    def total(self) -> int:
        """Return how many ranks the agents are to run."""
        return sum(len(slots) for slots in self._slots.values())


class Regroup:
    """Ranks that can't change their number: whenever an agent comes or goes, all end and start anew.

    So does torchrun (torch/distributed/elastic/agent/server/api.py, 2.15). Ranks are told by SIGTERM, and the
    next group starts when every one of them is dead: two groups never write one checkpoint.
    """

    def __init__(self, book: ElasticBook) -> None:
        self._book = book
        self._generation = -1
        self._group: dict[Key, str] = {}
        self._joined: dict[Key, tuple[str, float]] = {}
        self._drain: Optional[int] = 0
        """The version of the answer by which all slots end; None while a group runs."""
        self._fruitless = 0

    def look(self, now: float) -> None:
        """Let the group follow who is there."""
        book = self._book
        if book.command != Command.START:
            return
        if book.is_finishing:
            if self._has_lost_peers():
                text = "ranks lost each other when others had succeeded already"
                book.stop(stopped(text, FailureType.PEER_LOST))
            return
        there = {key: book.members[key].life for key in book.present(now)}
        self._joined = {
            key: (life, self._joined[key][1] if self._joined.get(key, ("",))[0] == life else now)
            for key, life in there.items()
        }
        if self._drain is None and self._has_to_change(there, now):
            book.set_slots({})
            self._drain = book.answer_version
        if self._drain is not None and all(self._is_drained(key) for key in there):
            self._begin(there)

    def hear(self, said: dict[str, Any]) -> None:
        """Do nothing: torch needs no server but that of rank 0."""

    def next_look(self, now: float) -> float:
        """Return when newcomers have waited long enough."""
        waits = [since + SETTLE_SECONDS for key, (_, since) in self._joined.items() if key not in self._group]
        return min((when for when in waits if when > now), default=now + 60)

    def _has_to_change(self, there: dict[Key, str], now: float) -> bool:
        if any(there.get(key) != life for key, life in self._group.items()):
            self._fruitless = 0
            return True
        newcomers = [self._joined[key][1] for key in there if key not in self._group]
        if newcomers and now >= max(newcomers) + SETTLE_SECONDS:
            self._fruitless = 0
            return True
        if not self._has_lost_peers():
            return False
        # A lost peer is blamed, and its agent may not be known to be lost yet: then the group is not
        # drained before it is. If all have stayed, another group may have more luck, but not for ever.
        self._fruitless += 1
        if self._fruitless > FRUITLESS_CHANGES:
            text = f"ranks lost each other {self._fruitless} times while every agent stayed"
            self._book.stop(stopped(text, FailureType.PEER_LOST))
            return False
        return True

    def _has_lost_peers(self) -> bool:
        return any(State.FAILED in self._book.members[key].slots.values() for key in self._group)

    def _is_drained(self, key: Key) -> bool:
        member = self._book.members[key]
        if member.state == State.WAITING or self._drain is None:
            return True
        return member.followed >= self._drain and State.RUNNING not in member.slots.values()

    def _begin(self, there: dict[Key, str]) -> None:
        self._generation += 1
        self._group, self._drain = there, None
        processes, slots = self._book.processes, {}
        for group_rank, key in enumerate(there):
            slots[key] = [
                {
                    "id": f"{self._generation}.{local}",
                    "rank": group_rank * processes + local,
                    "localRank": local,
                    "numbers": {
                        Number.RANK: group_rank * processes + local,
                        Number.SIZE: len(there) * processes,
                        Number.CROSS_RANK: group_rank,
                        Number.CROSS_SIZE: len(there),
                        Number.GENERATION: self._generation,
                    },
                }
                for local in range(processes)
            ]
        self._book.set_slots(slots)
