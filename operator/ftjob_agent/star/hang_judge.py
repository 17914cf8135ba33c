"""Finding out that a job hangs: the leader's judgement.

An agent tells in every message for how long its ranks have made no step. When all that count have made none
for ``hangSeconds``, the leader asks all agents for their ranks' stacks, and names the rank that is elsewhere.
A late message can't make a hang: an age is as old as its message, so it only ever tells too little.
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional, Sequence

from ftjob_protocol.failures import Failure, FailureClass, FailureType

if TYPE_CHECKING:
    from ftjob_agent.star.book import Book, Member

FIRST_STEP_FACTOR = 3.0
FIRST_STEP_SECONDS = 300.0
"""The first step takes longer than others: frameworks are imported, data fetched and graphs compiled."""
ANSWER_SECONDS = 15.0
"""How long the leader waits for stacks; an agent needs a few seconds at most."""
MESSAGE_BYTES = 1500
FRAMES = 6
GROUPS = 4


class Watchdog:
    """The leader's judgement."""

    def __init__(self, book: Book, hang_seconds: float) -> None:
        self._book, self._hang = book, hang_seconds
        self._first = max(FIRST_STEP_FACTOR * hang_seconds, FIRST_STEP_SECONDS)
        self._asked_at: Optional[float] = None

    def look(self, now: float) -> None:
        """Ask for stacks when nothing moves; end the attempt when they are there."""
        book = self._book
        if not book.is_started:
            self._asked_at = None
            return
        ages = self._ages(now)
        book.say_watchdog(self._complaint(ages))
        limits = [(age["seconds"], self._limit(age)) for age in ages]
        late = [seconds >= limit for seconds, limit in limits if limit is not None]
        if not late or not all(late):
            if self._asked_at is not None:  # a step, after all
                self._asked_at = None
                book.ask_for_stacks(wanted=False)
        elif self._asked_at is None:
            self._asked_at = now
            book.ask_for_stacks(wanted=True)
        elif now >= self._asked_at + ANSWER_SECONDS or all(self._has_answered(m) for m in self._running(now)):
            book.stop(self._failure(ages, now))
            self._asked_at, book.stacks_asked = None, 0
            for member in book.members.values():  # the next attempt may run in the same agents
                member.idle = member.stacks = None

    def next_look(self) -> Optional[float]:
        """Return when the stacks that are missing will not be waited for any more."""
        return self._asked_at + ANSWER_SECONDS if self._asked_at is not None else None

    def _running(self, now: float) -> list[Member]:
        members = self._book.members.values()
        return [m for m in members if not m.has_ended and not self._book.is_lost(m, now)]

    def _ages(self, now: float) -> list[dict[str, Any]]:
        return [m.idle for m in self._running(now) if m.idle is not None]

    def _limit(self, age: Mapping[str, Any]) -> Optional[float]:
        """Return how old an agent's last step may be; None where there may never be one."""
        if age["stepped"]:
            return self._hang
        return self._first if age["hooked"] else None

    def _complaint(self, ages: Sequence[Mapping[str, Any]]) -> str:
        """Return what people should know who rely on the watchdog."""
        if not ages or any(age["stepped"] or age["seconds"] < self._hang for age in ages):
            return ""
        if any(age["hooked"] for age in ages):
            return (
                f"no rank has made a step yet; {self._first:g} s after the start the watchdog takes that "
                "for a hang"
            )
        return (
            "the watchdog has no steps to watch: no rank has reported one; report them in "
            "$FTJOB_PROGRESS_FILE, or limit the job by activeDeadlineSeconds"
        )

    def _has_answered(self, member: Member) -> bool:
        return member.stacks is not None and member.stacks.get("asked") == self._book.stacks_asked

    def _failure(self, ages: Sequence[Mapping[str, Any]], now: float) -> Failure:
        running = self._running(now)
        known = [m.stacks["ranks"] for m in running if m.stacks is not None and self._has_answered(m)]
        entries = [entry for ranks in known for entry in ranks]
        seen = {int(entry["rank"]) for entry in entries}
        states = [(rank, state) for m in running for rank, state in m.ranks.items()]
        missing = [rank for rank, state in states if state == "Running" and rank not in seen]
        has_stepped = any(age["stepped"] for age in ages)
        seconds = min(
            a["seconds"] for a in ages if self._limit(a) is not None and a["stepped"] is has_stepped
        )
        what = "no step" if has_stepped else "no first step"
        rank, text = blame(entries, f"{what} for {seconds:.0f} s", missing)
        folder = next((str(m.stacks.get("folder") or "") for m in running if m.stacks is not None), "")
        lines = text.split("\n")
        if folder:
            lines.insert(len(lines) - 1, f"all stacks: {folder}")
        return Failure(
            FailureClass.HANG,
            "\n".join(lines),
            rank=rank,
            time_ns=time.time_ns(),
            type=FailureType.HANG,
            exit_code=None,
        )


def blame(entries: Iterable[Mapping[str, Any]], what: str, missing: Sequence[int] = ()) -> tuple[int, str]:
    """Return the rank that holds up the others, and who is where in a few lines; the last says it all.

    Ranks with the same stack are a group. A rank that waits for the others holds nobody up, as long as there
    are ranks that do not wait; of these, or if all wait, those are to blame who are not in the largest group.

    Parameters
    ----------
    entries
        What `ftjob_agent.stacks.summary` told of each rank.
    what
        What is wrong: "no step for 600 s".
    missing
        Ranks whose stacks did not come.
    """
    groups: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for entry in sorted(entries, key=lambda entry: int(entry["rank"])):
        groups[str(entry["key"])].append(entry)
    found = sorted(groups.values(), key=_suspicion)
    if not found:
        return min(missing, default=0), f"{what}, and no rank gave its stack"
    named = _lowest_step(found[0])
    rank, where = int(named["rank"]), str(named["where"])
    others = [entry for group in found[1:] for entry in group]
    if others:
        largest = max(found[1:], key=len)
        verb = "wait" if len(largest) > 1 else "waits"
        place = f"{verb if largest[0].get('waits') else _are(largest)} at {largest[0]['where']}"
        last = f"{what}: {_names(found[0])} {_are(found[0])} at {where}, while {_names(largest)} {place}"
    elif len(found[0]) == 1:
        last = f"{what}: rank {rank} is at {where}"
    else:
        last = f"{what}: all {len(found[0])} ranks wait at the same place, {where}"
        if _steps(found[0]) != {named.get("step")}:
            last += f"; rank {rank} has made the fewest steps ({named.get('step')})"
    if missing:
        last += f"; no stacks came from {_numbers(missing)}"
    return rank, _message(found, last)


def _suspicion(group: Sequence[Mapping[str, Any]]) -> tuple[bool, bool, int, int, int]:
    """Sort the culprits first; ranks that never make steps, such as parameter servers, are none."""
    lowest = _lowest_step(group)
    return (
        not group[0].get("counts", True),
        bool(group[0].get("waits")),
        len(group),
        _step(lowest),
        int(lowest["rank"]),
    )


def _lowest_step(group: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return min(group, key=lambda entry: (_step(entry), int(entry["rank"])))


def _step(entry: Mapping[str, Any]) -> int:
    step = entry.get("step")
    return step if isinstance(step, int) else -1


def _steps(group: Iterable[Mapping[str, Any]]) -> set[Any]:
    return {entry.get("step") for entry in group}


def _message(groups: Sequence[Sequence[Mapping[str, Any]]], last: str) -> str:
    """Return as many frames of as many groups as fit; the culprits come last, where a reader looks."""
    text = last
    for count in range(FRAMES, 0, -1):
        lines = [line for group in reversed(groups[:GROUPS]) for line in _group(group, count)]
        if len(groups) > GROUPS:
            rest = [int(entry["rank"]) for group in groups[GROUPS:] for entry in group]
            lines.insert(0, f"elsewhere, at {len(groups) - GROUPS} more places: {_numbers(rest)}")
        text = "\n".join([*lines, last])
        if len(text.encode("utf-8", "replace")) <= MESSAGE_BYTES:
            return text
    return "\n".join(text.encode("utf-8", "replace")[-MESSAGE_BYTES:].decode("utf-8", "ignore").split("\n"))


def _group(group: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    steps = sorted(step for step in _steps(group) if isinstance(step, int))
    after = (
        f", after step {'-'.join(str(step) for step in dict.fromkeys((steps[0], steps[-1])))}"
        if steps
        else ""
    )
    frames = [str(frame) for frame in group[0].get("frames", ())][:count] or [str(group[0]["where"])]
    return [f"{_names(group)}{after}:", *(f"  {frame}" for frame in frames)]


def _are(group: Sequence[object]) -> str:
    return "are" if len(group) > 1 else "is"


def _names(group: Sequence[Mapping[str, Any]]) -> str:
    return _numbers([int(entry["rank"]) for entry in group])


def _numbers(ranks: Iterable[int]) -> str:
    """Return ranks as people write them: ``rank 3``, ``ranks 0-2, 4``."""
    parts: list[list[int]] = []
    for rank in sorted(ranks):
        if parts and rank == parts[-1][-1] + 1:
            parts[-1].append(rank)
        else:
            parts.append([rank])
    words = [f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    shown = ", ".join(words[:12]) + (", …" if len(words) > 12 else "")
    return f"rank{'s' if sum(map(len, parts)) > 1 else ''} {shown}"
