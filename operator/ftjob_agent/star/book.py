"""What the leader knows of all agents, and what it tells them. No sockets and no clock of its own."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, Optional

from ftjob_agent.exit import stopped
from ftjob_protocol.failures import Failure, FailureClass, FailureType, first
from ftjob_protocol.leader_state import ABSENT_NAMED, LeaderState
from ftjob_protocol.states import Command, State
from ftjob_protocol.values.progress import read_progress
from ftjob_protocol.values.ranges import to_ranges

if TYPE_CHECKING:
    from ftjob_protocol.agent_config import AgentConfig

HOLD_SECONDS = 5.0
HOST_LIMIT = 200
Key = tuple[str, int]


def hold_seconds(config: AgentConfig) -> float:
    """Return how long the leader may keep an agent waiting for an answer."""
    return min(HOLD_SECONDS, config.contact_timeout / 3)


def doubt_seconds(config: AgentConfig) -> float:
    """Return how long an agent may owe the word that it is asked for once ranks have lost their peers."""
    return config.contact_timeout / 3


class RefusedError(Exception):
    """A message that can't be true; the text says why."""


class NotYetError(RefusedError):
    """A message of an agent that has to wait until another one is gone."""


@dataclass
class Member:
    """The last message of one agent."""

    life: str
    heard: float
    host: str = ""
    """Its pod and node, in words."""
    sequence: int = -1
    state: str = State.WAITING
    ranks: dict[int, str] = field(default_factory=dict)
    failure: Optional[Failure] = None
    captures: dict[str, list[int]] = field(default_factory=dict)
    profiled: list[int] = field(default_factory=list)
    progress: Optional[dict[str, Any]] = None
    notes: list[str] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)
    """Of an elastic job: the state of each slot that the agent has started, by its id."""
    seen: int = 0
    """The newest version of the answer that the agent has got."""
    followed: int = 0
    """The version of the answer that the agent has carried out."""
    idle: Optional[dict[str, Any]] = None
    """For how long its ranks have made no step; None where that does not count."""
    server: str = ""
    """Host and port of what its first rank serves, if others have to be told."""
    stacks: Optional[dict[str, Any]] = None
    """Where its ranks are, if that was asked for."""

    @property
    def has_ended(self) -> bool:
        """Whether its ranks are dead and it has said so."""
        return (
            self.state in {State.SUCCEEDED, State.FAILED, State.STOPPED}
            and State.RUNNING not in self.ranks.values()
        )

    def news(self) -> tuple[Any, ...]:
        """Return what others are woken for; steps are not."""
        return (self.life, self.state, self.ranks, self.failure, self.captures, self.notes, self.slots)


class Book:
    """The leader's book.

    `version` counts what the operator waits for, `answer_version` what agents wait for: were it one number,
    each of a thousand agents would be woken by every change of each of the others.
    """

    def __init__(self, config: AgentConfig, now: float) -> None:
        self._config = config
        self._began = now
        self.attempt = config.attempt
        self.members: dict[Key, Member] = {}
        self.version = 1
        self.answer_version = 1
        self.command: str = Command.WAIT
        self.failure: Optional[Failure] = None
        self.is_ready = True
        """False holds back the start, for as long as the rendezvous is not up."""
        self.stacks_asked = 0
        """The version of the answer that asks for the ranks' stacks; 0 while nobody does."""
        self._watchdog = ""
        self._victim: Optional[tuple[Failure, float, int]] = None
        """The ranks' lost peers, since when agents are asked for a word, and by which answer."""
        self.lost_after = config.contact_timeout
        """Seconds of silence after which an agent counts as lost."""
        self._safe_until = now
        """No agent can be lost before: each message has all looked at, and there may be a thousand."""

    def hear(self, key: Key, data: dict[str, Any], now: float) -> bool:
        """Take in a message; return whether the agent's state is news."""
        if data.get("attempt") != self.attempt:
            raise RefusedError(f"this is attempt {self.attempt}")
        life, sequence, seen = str(data.get("life", "")), data.get("sequence", 0), int(data.get("seen") or 0)
        member = self.members.get(key)
        if member is not None and member.life == life and sequence <= member.sequence:
            member.heard, member.seen = now, max(member.seen, seen)
            self._settle()
            return False  # overtaken by a later one on another connection
        self._admit(key, member, life, now)
        before = member.news() if member is not None else None
        known = Member(life, now) if member is None or member.life != life else member
        _take(known, data, sequence)
        known.heard, known.seen = now, max(known.seen, seen)
        self.members[key] = known
        is_news = before != known.news()
        if is_news:
            self.version += 1
        self._judge(key, known, now)
        self._settle()
        self._start_if_ready(now)
        return is_news

    def _admit(self, key: Key, member: Optional[Member], life: str, now: float) -> None:
        """Refuse who does not belong here; `member` is what is known of the agent of that key."""
        if member is None and len(self.members) >= self._config.agents:
            raise RefusedError(
                f"all {self._config.agents} agents are known, and {key[0]}-{key[1]} is not one of them"
            )
        if member is not None and member.life != life and self.command in {Command.START, Command.HALT}:
            # A pod that replaces one that only waited is welcome; ranks that were started can't be replaced.
            self.stop(
                stopped(f"agent {key[0]}-{key[1]} was replaced while its ranks ran", FailureType.LOST_CONTACT)
            )

    def _judge(self, key: Key, member: Member, now: float) -> None:
        """End the attempt if this agent's state ends it."""
        if member.failure is not None and self._may_be_the_network(member.failure):
            self._suspect(member.failure, now)
        elif member.failure is not None:
            self.stop(member.failure)
        elif member.state == State.STOPPED and self.command != Command.STOP:
            self.stop(stopped(f"agent {key[0]}-{key[1]} was stopped", FailureType.SIGTERM))

    def _may_be_the_network(self, failure: Failure) -> bool:
        """Whether agents have to be heard before it is known what has failed."""
        is_victim = failure.failure_class == FailureClass.PEER_LOST
        return is_victim and self.command == Command.START and self._config.elastic is None

    def _unheard(self) -> list[Key]:
        """Return the agents that owe a word since ranks have lost their peers."""
        if self._victim is None or self.command != Command.START:
            return []
        own, asked = (self._config.role, self._config.index), self._victim[2]
        return sorted(
            key
            for key, member in self.members.items()
            if key != own and not member.has_ended and member.seen < asked
        )

    def _suspect(self, failure: Failure, now: float) -> None:
        if self._victim is None:
            self._bump()  # whoever is there says so at once; an older word may still have been on its way
            self._victim = (failure, now, self.answer_version)
        else:
            known, since, asked = self._victim
            self._victim = (first((known, failure)) or known, since, asked)

    def _settle(self) -> None:
        """Believe ranks that have lost their peers once it is known that every agent is there."""
        if self._victim is None or self._unheard():
            return
        (failure, *_), self._victim = self._victim, None
        if self.command == Command.START:
            self.stop(failure)

    def stop(self, reason: Failure) -> None:
        """End the attempt; a reason that came first replaces one that came later."""
        chosen = first((self.failure, reason))
        if self.command != Command.STOP or chosen != self.failure:
            self.command, self.failure = Command.STOP, chosen
            self._bump()

    @property
    def is_started(self) -> bool:
        """Whether ranks may run."""
        return self.command == Command.START

    def ask_for_stacks(self, *, wanted: bool) -> None:
        """Let all agents tell where their ranks are, or let them be."""
        self._bump()
        self.stacks_asked = self.answer_version if wanted else 0

    def say_watchdog(self, text: str) -> None:
        """Let the operator know what the watchdog has to say."""
        if text != self._watchdog:
            self._watchdog = text
            self.version += 1

    def set_ready(self, is_ready: bool, now: float) -> None:
        """Let the ranks start as soon as all are there, or hold them back."""
        self.is_ready = is_ready
        self._start_if_ready(now)

    def lost(self, now: float) -> Optional[Failure]:
        """Return why the attempt can't go on, if an agent has been silent for too long or never came."""
        silent = self._silent(now)
        if silent and self.command in {Command.START, Command.HALT}:
            names = ", ".join(self._described(key) for key in sorted(silent))
            return stopped(
                f"no word from {names} for {self._config.contact_timeout:g} s", FailureType.LOST_CONTACT
            )
        unheard = self._unheard()
        if unheard and self._victim is not None and now >= self._victim[1] + doubt_seconds(self._config):
            names = ", ".join(self._described(key) for key in unheard)
            seconds = now - min(self.members[key].heard for key in unheard)
            text = f"no word from {names} for {seconds:.0f} s, in which ranks lost their peers"
            return stopped(text, FailureType.LOST_CONTACT)
        if now >= self._start_deadline and self.command == Command.WAIT:
            return stopped(self._who_is_absent(now), FailureType.PEERS_ABSENT)
        return None

    def _silent(self, now: float) -> list[Key]:
        """Return the agents that have become lost since all were looked at."""
        if now < self._safe_until:
            return []
        living = [(key, member) for key, member in self.members.items() if not member.has_ended]
        heard = (member.heard for _, member in living if not self.is_lost(member, now))
        self._safe_until = min(heard, default=now) + self.lost_after
        return [key for key, member in living if self.is_lost(member, now)]

    @property
    def _start_deadline(self) -> float:
        """Until when all agents have to be there."""
        limit = self._config.start_timeout
        return math.inf if limit is None else self._began + limit

    def next_look(self, now: float) -> float:
        """Return when `lost` may change without a message."""
        limits = [max(self._safe_until, now + 0.1)]
        if self.command == Command.WAIT:
            limits.append(min(self._start_deadline, now + 60))
        if self._victim is not None:
            limits.append(self._victim[1] + doubt_seconds(self._config))
        return min((limit for limit in limits if limit > now), default=now + 60)

    @property
    def all_known(self) -> bool:
        """Whether every agent has reported."""
        return len(self.members) >= self._config.agents

    def all_ended(self, now: float) -> bool:
        """Whether every agent has ended, or has been silent for so long that it has killed its ranks."""
        ended = all(member.has_ended or self.is_lost(member, now) for member in self.members.values())
        return ended and (self.all_known or self.command == Command.STOP)

    def answer(self, key: Key) -> dict[str, Any]:
        """Return what an agent is told."""
        reason = self.failure.as_json() if self.failure else None
        own = self.members.get((self._config.role, self._config.index))
        return {
            "command": self.command,
            "attempt": self.attempt,
            "version": self.answer_version,
            "failure": reason,
            "stacks": self.stacks_asked,
            "host": own.host if own is not None else "",
        }

    def slots_of(self, key: Key) -> list[dict[str, Any]]:
        """Return the slots that an elastic job wants of an agent; others start what their plan says."""
        return []

    def leader_state(self) -> LeaderState:
        """Return what the operator is told."""
        states = [state for member in self.members.values() for state in member.ranks.values()]
        counts = {name.lower(): states.count(name) for name in (State.RUNNING, State.SUCCEEDED, State.FAILED)}
        steps = [member.progress for member in self.members.values() if member.progress]
        captures: dict[str, list[int]] = {}
        for member in self.members.values():
            for capture, ranks in member.captures.items():
                captures.setdefault(capture, []).extend(ranks)
        lowest = min(steps, key=lambda step: int(step.get("rank", 0)), default=None)
        notes = dict.fromkeys(note for member in self.members.values() for note in member.notes)
        return LeaderState(
            version=self.version,
            attempt=self.attempt,
            state=self._state(),
            ranks={"total": self.total(), **counts},
            progress=read_progress(lowest),
            failure=self.failure,
            watchdog=self._watchdog,
            absent=self._never_came() if self.command == Command.WAIT else (),
            captures={capture: to_ranges(ranks) for capture, ranks in sorted(captures.items())},
            notes=list(notes),
        )

    def total(self) -> int:
        """Return how many ranks there are."""
        return self._config.world_size

    def profiled(self) -> list[int]:
        """Return all ranks that are profiled."""
        return sorted(rank for member in self.members.values() for rank in member.profiled)

    def _state(self) -> str:
        if self.failure is not None:
            return State.STOPPED if self.failure.failure_class == FailureClass.STOPPED else State.FAILED
        if self.all_known and all(member.state == State.SUCCEEDED for member in self.members.values()):
            return State.SUCCEEDED
        return State.RUNNING if self.command == Command.START else State.WAITING

    def _start_if_ready(self, now: float) -> None:
        if self.command != Command.WAIT or not self.is_ready or len(self.members) < self._config.agents:
            return
        # Whoever runs ranks has to miss somebody when it is cut off, so all meet before any starts.
        present = [member for member in self.members.values() if not self.is_lost(member, now)]
        if len(present) < self._config.agents:
            return
        self.command = Command.START
        self._bump()

    def is_lost(self, member: Member, now: float) -> bool:
        """Whether an agent has been silent for so long that it has killed its ranks."""
        return now - member.heard >= self.lost_after

    def _described(self, key: Key) -> str:
        """Return an agent's name, and where it said that it runs."""
        member = self.members.get(key)
        where = f" ({member.host})" if member is not None and member.host else ""
        return f"{key[0]}-{key[1]}{where}"

    def _wanted(self) -> Iterator[Key]:
        return ((role, index) for role, count in self._config.roles.items() for index in range(count))

    def _never_came(self) -> list[str]:
        names = (f"{role}-{index}" for role, index in self._wanted() if (role, index) not in self.members)
        return list(itertools.islice(names, ABSENT_NAMED))

    def why_waiting(self, now: float) -> str:
        """Return whom the leader waits for."""
        there = {key for key, member in self.members.items() if not self.is_lost(member, now)}
        absent = [self._described(key) for key in self._wanted() if key not in there]
        if not absent:
            return f"waits for the {self._config.strategy} rendezvous to come up"
        names = ", ".join(absent[:ABSENT_NAMED] + ["…"] * (len(absent) > ABSENT_NAMED))
        return f"waits for {names}: {len(there)} of {self._config.agents} agents are there"

    def _who_is_absent(self, now: float) -> str:
        config = self._config
        there = {key for key, member in self.members.items() if not self.is_lost(member, now)}
        waited = f"after {config.start_timeout:g} s {len(there)} of {config.agents} agents are there"
        if not self.is_ready:
            return f"{waited}, but the {config.strategy} rendezvous is not up; see this pod's log for why"
        absent = [key for key in self._wanted() if key not in there]
        names = ", ".join(self._described(key) for key in absent[:ABSENT_NAMED])
        who = f"peers absent: {names}{' …' if len(absent) > ABSENT_NAMED else ''}"
        remedy = "see why their pods do not run (kubectl describe pod)"
        return f"{who}; {waited}; {remedy}"

    def _bump(self) -> None:
        self._safe_until = 0.0
        self.answer_version += 1
        self.version += 1


def _take(member: Member, data: dict[str, Any], sequence: int) -> None:
    member.sequence = sequence
    member.host = str(data.get("host") or "")[:HOST_LIMIT]
    member.server = str(data.get("server") or "")[:HOST_LIMIT]
    member.state = str(data.get("state", State.WAITING))
    member.ranks = {int(item["rank"]): str(item["state"]) for item in data.get("ranks", [])}
    member.failure = Failure.from_json(data.get("failure"))
    member.captures = {
        str(key): [int(rank) for rank in ranks] for key, ranks in (data.get("captures") or {}).items()
    }
    member.profiled = [int(rank) for rank in data.get("profiled", [])]
    member.progress = _document(data.get("progress"))
    member.notes = [str(note)[:500] for note in data.get("notes", [])][:8]
    slots = data.get("slots")
    member.slots = {str(key): str(state) for key, state in slots.items()} if isinstance(slots, dict) else {}
    member.followed = int(data.get("followed", 0))
    member.idle, member.stacks = (_document(data.get(key)) for key in ("idle", "stacks"))


def _document(data: Any) -> Optional[dict[str, Any]]:
    return data if isinstance(data, dict) else None
