"""What the leader's agent says of the whole job: the answer to every request of the operator.

An answer is the word of a stranger: it is as large as `LIMIT` at most, and read strictly. So the leader tells
no more than fits, whatever its agents have told it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ftjob_protocol.captures import is_scheduled, read_done
from ftjob_protocol.captures.order import Asked, read_asked
from ftjob_protocol.failures import Failure
from ftjob_protocol.states import State
from ftjob_protocol.values.fields import Fields
from ftjob_protocol.values.progress import read_progress, read_shares
from ftjob_protocol.values.ranges import format_ranges
from ftjob_protocol.values.text import clean
from ftjob_protocol.vitals.verdict import Verdict

LIMIT = 1 << 16
"""Bytes of an answer. The bounds of its parts add up to less, with six bytes for a character beyond ASCII."""
CAPTURES_BYTES = 1 << 14
NOTES_MAX = 16
NOTE_BYTES = 200
WATCHDOG_BYTES = 300
WAITS_BYTES = 300

ABSENT_NAMED = 10
NAME_LIMIT = 64


@dataclass(frozen=True)
class LeaderState:
    """How a job is, as its leader sees it."""

    attempt: int
    state: str
    progress: Optional[dict[str, Any]]
    captures: Mapping[str, Sequence[range]] = field(default_factory=dict)
    """The ranks that have finished a scheduled capture, by its id."""
    asked: Sequence[Asked] = ()
    """Captures that were asked for, or that the leader takes by itself: the last ones, oldest first."""
    watchdog: str = ""
    """Why the watchdog can't tell a hang, or not yet."""
    absent: Sequence[str] = ()
    """While the agents wait for each other: the first of those that have not come, as ``worker-1``."""
    waits: str = ""
    """Why an agent waits, in its own words: one that can't reach its leader is asked for them itself."""
    failure: Optional[Failure] = None
    """The first failing rank."""
    verdict: Optional[Verdict] = None
    """Why the job is slow; None: not known yet."""
    shares: Mapping[str, float] = field(default_factory=dict, compare=False)
    """How much of the time since the first step went into waiting for data, for others, and into pauses."""
    ordered: int = 0
    """The last attempt that it was told to start."""
    version: int = field(default=0, compare=False)
    """Of what is worth waking the operator for."""
    ranks: Mapping[str, int] = field(default_factory=dict, compare=False)
    """How many there are in each state, and in total: for people, as notes are."""
    notes: Sequence[str] = field(default=(), compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told."""
        return {
            "version": self.version,
            "attempt": self.attempt,
            "ordered": self.ordered,
            "state": self.state,
            "ranks": dict(self.ranks),
            "progress": read_progress(self.progress),
            "failure": self.failure.as_json() if self.failure else None,
            "verdict": self.verdict.as_json() if self.verdict else None,
            "shares": read_shares(self.shares),
            "watchdog": clean(self.watchdog, WATCHDOG_BYTES),
            "absent": [clean(name, NAME_LIMIT) for name in self.absent[:ABSENT_NAMED]],
            "waits": clean(self.waits, WAITS_BYTES),
            "captures": _told(self.captures),
            **({"asked": [asked.as_json() for asked in self.asked]} if self.asked else {}),
            "notes": [clean(note, NOTE_BYTES) for note in self.notes[:NOTES_MAX]],
        }

    @classmethod
    def read(cls, data: Any) -> LeaderState:
        """Read that form, as far as the operator needs it.

        Raises
        ------
        ValueError
            Something in it is not what it has to be; the text names it.
        """
        fields = Fields(data, "answer")
        attempt = fields.whole("attempt")
        if attempt is None:
            raise ValueError("answer.attempt is missing")
        return cls(
            attempt=attempt,
            state=fields.one_of("state", State),
            progress=read_progress(fields.inner("progress")),
            captures=read_done(fields.inner("captures") or {}),
            asked=read_asked(data.get("asked")),
            watchdog=fields.text("watchdog", WATCHDOG_BYTES),
            absent=fields.texts("absent", NAME_LIMIT, most=ABSENT_NAMED),
            waits=fields.text("waits", WAITS_BYTES),
            failure=Failure.from_json(fields.inner("failure")),
            verdict=Verdict.read(fields.inner("verdict")),
            shares=read_shares(data.get("shares")),
            ordered=fields.whole("ordered") or 0,
            version=fields.whole("version") or 0,
        )


def _told(captures: Mapping[str, Sequence[range]]) -> dict[str, str]:
    """Return who has finished which capture, as far as there is room.

    The short ones come first: those of captures that are done, or nearly so. Of the others the ranks that
    there is no room for are told once they leave no gaps.
    """
    told: dict[str, str] = {}
    left = CAPTURES_BYTES
    texts = {name: format_ranges(ranks) for name, ranks in captures.items() if is_scheduled(name)}
    for name, text in sorted(texts.items(), key=lambda item: len(item[1])):
        whole = text if len(text) <= left else text[:left].rpartition(",")[0]
        left -= len(whole)
        told[name] = whole
    return told
