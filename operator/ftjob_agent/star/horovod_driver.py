"""Elastic Horovod: Horovod's own driver decides which slots run, and the ranks that stay keep their state."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Callable

from ftjob_agent.exit import stopped
from ftjob_protocol.failures import FailureType
from ftjob_protocol.states import Command, State

if TYPE_CHECKING:
    from ftjob_agent.star.book import Key
    from ftjob_agent.star.elastic import AgentSlots, ElasticBook

TAKEN_AWAY = 143
"""The exit code by which the driver hears of a slot that was stopped, or went with its agent."""


class _Slot:
    """One slot that the driver has asked for."""

    def __init__(self, key: Key, life: str, told: dict[str, Any]) -> None:
        self.key, self.life, self.told = key, life, told
        self.unwanted_since = 0
        """The version of the answer by which it is to end; 0 while it is wanted."""
        self.has_ended = False


class HorovodDriver:
    """Passes on between the book and the child that is Horovod's driver.

    Parameters
    ----------
    say
        Sends a message to the child.
    """

    def __init__(self, book: ElasticBook, say: Callable[[dict[str, Any]], None]) -> None:
        self._book, self._say = book, say
        self._hosts: dict[str, tuple[Key, str]] = {}
        self._names: dict[tuple[Key, str], str] = {}
        self._lives = itertools.count()
        self._told: dict[str, int] = {}
        self._slots: dict[str, _Slot] = {}

    def hear(self, said: dict[str, Any]) -> None:
        """Take in what the child says."""
        if "start" in said:
            self._start(said["start"])
        elif "stop" in said and str(said["stop"]) in self._slots:
            slot = self._slots[str(said["stop"])]
            self._set_slots(without=slot)
        elif "ended" in said and not self._book.is_finishing:
            why = said["ended"] or "all ranks have failed"
            self._book.stop(stopped(f"Horovod's elastic driver has given up: {why}", FailureType.PEER_LOST))

    def look(self, now: float) -> None:
        """Tell the child who is there and what has ended."""
        book = self._book
        if book.command != Command.START:
            return
        there = {}
        for key in book.present(now):
            identity = (key, book.members[key].life)
            if identity not in self._names:
                # Another life is another host: the driver would take the old host's slots for running ones.
                name = f"{key[0]}-{key[1]}.{next(self._lives)}"
                self._names[identity], self._hosts[name] = name, identity
            there[self._names[identity]] = book.processes
        for slot in list(self._slots.values()):
            if not slot.has_ended:
                self._look_at(slot, there)
        if there != self._told:
            self._told = there
            self._say({"hosts": there})
        self._set_slots()
        if book.is_finishing and any(
            State.FAILED in book.members[key].slots.values()
            for key, _ in self._hosts.values()
            if key in book.members
        ):
            book.stop(
                stopped("ranks lost each other when others had succeeded already", FailureType.PEER_LOST)
            )

    def next_look(self, now: float) -> float:
        """Return when `look` may find something by itself: never."""
        return now + 60

    def _start(self, asked: dict[str, Any]) -> None:
        key, life = self._hosts[asked["host"]]
        rank = key[1] * self._book.processes + int(asked["localRank"])
        planned = {
            "id": str(asked["id"]),
            "rank": rank,
            "localRank": asked["localRank"],
            "numbers": asked["numbers"],
        }
        self._slots[planned["id"]] = _Slot(key, life, planned)
        self._set_slots()

    def _look_at(self, slot: _Slot, there: dict[str, int]) -> None:
        """Tell the child if a slot has ended."""
        book, name = self._book, slot.told["id"]
        member = book.members.get(slot.key)
        if member is None or member.life != slot.life:
            self._end(slot, TAKEN_AWAY)
            return
        state = member.slots.get(name)
        if state == State.SUCCEEDED:
            slot.has_ended = True
            self._say({"exit": [int(name), 0]})
        elif state == State.FAILED:
            self._end(slot, 1)
        is_removed = state != State.RUNNING and 0 < slot.unwanted_since <= member.followed
        if not slot.has_ended and (is_removed or self._names[slot.key, slot.life] not in there):
            self._end(slot, TAKEN_AWAY)

    def _end(self, slot: _Slot, code: int) -> None:
        slot.has_ended = True
        del self._slots[slot.told["id"]]
        self._say({"exit": [int(slot.told["id"]), code]})

    def _set_slots(self, without: _Slot | None = None) -> None:
        slots: AgentSlots = {}
        for slot in self._slots.values():
            if not slot.unwanted_since and slot is not without:
                slots.setdefault(slot.key, []).append(slot.told)
        self._book.set_slots(slots)
        if without is not None:
            without.unwanted_since = self._book.answer_version
