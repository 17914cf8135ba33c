"""Captures that the leader takes by itself: of what is new and sure, and of what its clocks can't see."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Collection, Optional, Sequence

from ftjob_protocol.captures.order import AUTOMATIC_PREFIX, CaptureOrder
from ftjob_protocol.states import State
from ftjob_protocol.values.ranges import to_ranges
from ftjob_protocol.vitals.verdict import Confidence

if TYPE_CHECKING:
    from ftjob_agent.star.book import Book
    from ftjob_agent.star.captures.captures import Captures
    from ftjob_protocol.vitals.verdict import Verdict

COOLDOWN_SECONDS = 1800.0
"""Between two of these captures."""
MOST = 3
"""So many are taken in an attempt."""
CULPRITS_MAX = 4
NOT_SEEN_IN_STEPS = ("Pauses", "MemoryGrowth")
"""Kinds of findings that a few steps show nothing of."""
STEADY_SECONDS = 20.0
"""A program of which no step is seen is captured after so long, about three blocks of steps."""
LOOK_SECONDS = 1.0
BLIND = "no rank can be seen waiting for the others in steps that are compiled"
STEPLESS = "the steps of this program can't be seen from outside"


class Automatic:
    """Says which captures to take, within their limits.

    Parameters
    ----------
    captures
        Those of the job, of which one at a time can be under way.
    """

    def __init__(self, book: Book, captures: Captures) -> None:
        self._book, self._captures = book, captures
        self._attempt = book.attempt
        self._explained: set[object] = set()
        self._taken = 0
        self._last, self._due = -math.inf, -math.inf

    def ask(self, reason: str, ranks: Collection[int], now: Optional[float] = None) -> bool:
        """Take a capture, unless there were enough of them; say whether one is taken.

        Parameters
        ----------
        reason
            What it is to explain, for people.
        """
        now = time.monotonic() if now is None else now
        if now - self._last < COOLDOWN_SECONDS or self._taken >= MOST:
            return False
        name = f"{AUTOMATIC_PREFIX}{self._book.attempt}-{self._taken}"
        if not self._captures.take(CaptureOrder(name, ranks=to_ranges(ranks)), reason, now):
            return False
        self._taken, self._last = self._taken + 1, now
        return True

    def explain(self, verdict: Verdict, now: Optional[float] = None) -> None:
        """Capture what is new and sure of a verdict, once: the culprits, and others beside them."""
        self._follow_attempt()
        new = (
            found
            for found in verdict.findings
            if found.confidence == Confidence.HIGH and found.kind not in NOT_SEEN_IN_STEPS
        )
        for found in new:
            # Whatever the confidence was before: it is part of a finding's identity.
            if found.identity not in self._explained and self.ask(found.text, self._beside(found.ranks), now):
                self._explained.add(found.identity)
                return

    def look(self, verdict: Optional[Verdict], *, is_blind: bool, now: float) -> None:
        """Capture once what the clocks of the ranks can't see, in an attempt that has no capture yet.

        Parameters
        ----------
        verdict
            As far as there is one: whom it suspects is captured.
        is_blind
            Whether steps are seen, and the ranks' work in them is not.
        """
        if now < self._due:
            return  # there may be a thousand agents, and each message has us look
        self._due = now + LOOK_SECONDS
        self._follow_attempt()
        if self._captures.has_any(self._book.attempt):
            return
        if is_blind:
            suspected = next((found for found in verdict.findings if found.ranks), None) if verdict else None
            if suspected is not None:
                self.ask(suspected.text, self._beside(suspected.ranks), now)
            else:
                self.ask(BLIND, self._beside(()), now)
        elif self._are_steady():
            self.ask(STEPLESS, self._beside(()), now)

    def _are_steady(self) -> bool:
        """Whether all ranks run what they have compiled a while ago, and none makes a step that is seen."""
        seconds = self._captures.steady()
        return bool(seconds) and all(
            state == State.RUNNING and seconds.get(rank, 0.0) >= STEADY_SECONDS
            for member in self._book.members.values()
            for rank, state in member.ranks.items()
        )

    def _beside(self, culprits: Sequence[range]) -> list[int]:
        """Return the first culprits, rank 0, and two others to compare them with."""
        profiled = self._book.profiled()
        blamed = [rank for rank in profiled if any(rank in found for found in culprits)][:CULPRITS_MAX]
        others = [rank for rank in profiled if not any(rank in found for found in culprits)]
        return sorted({*blamed, *others[:1], *others[-1:]})

    def _follow_attempt(self) -> None:
        if self._attempt != self._book.attempt:
            self._attempt, self._taken, self._explained = self._book.attempt, 0, set()
