"""What the leader makes of orders: a window for all chosen ranks, and word of how far they are."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional, Protocol, Sequence

from ftjob_agent.star.captures.documents import requests, unfinished
from ftjob_agent.star.captures.state import State, state_of
from ftjob_protocol.captures import request
from ftjob_protocol.captures.order import STEPS, STEPS_MAX, TOLD_MAX, Asked, CaptureOrder, CapturePhase
from ftjob_protocol.captures.window import RankCapture, RankPhase, Window
from ftjob_protocol.states import Command
from ftjob_protocol.states import State as RankState
from ftjob_protocol.values.fields import count, finite
from ftjob_protocol.values.ranges import to_ranges

if TYPE_CHECKING:
    from ftjob_agent.star.book import Book, Key
    from ftjob_protocol.agent_config import AgentConfig


class Outcome(Protocol):
    """What became of the captures in the outputs."""

    @property
    def removed(self) -> Sequence[str]:
        """Those whose files are gone."""

    @property
    def problem(self) -> str:
        """Why there can be no more."""


LEAD_SECONDS = 5.0
"""From the leader's word to the first step. Agents and hooks that get a core need half a second, but training
takes all that there is: a rank that is told late captures other steps than the rest."""
NEWS_SECONDS = 2.0
"""So old is what agents have told of steps, as a rule at most."""
FIRST_NEWS_SECONDS = 10.0
"""How long an order waits for the first step of some ranks, once that of others is known."""
LEAD_MAX_SECONDS = 30.0
"""Most that is added to it where agents are slow."""
USUAL_GAP_SECONDS = 1.5
"""Between two messages of an agent; what is more shows how slowly words get through on busy machines."""
GAP_FADES = 0.95
"""With each message, so that one bad moment is forgotten within a minute or two."""
LEAST_STEPS_AHEAD = 3
SECONDS = 2.0
"""Of a capture by time, of which only steps are asked."""
PATIENCE_SECONDS = 90.0
"""How long ranks may take beside the time of their steps: to begin, to write their files, and to say so."""


@dataclass
class _Present:
    """The capture that is under way."""

    order: CaptureOrder
    ranks: list[int]
    why: str
    """Of one that the leader takes by itself."""
    deadline: float
    window: Optional[Window] = None
    """None: some ranks' first step has yet to be told."""
    said: dict[int, RankCapture] = field(default_factory=dict)


@dataclass
class _Pace:
    """How far an agent's ranks are."""

    heard: float
    steps: dict[int, int]
    seconds: Optional[float]
    """Of a step."""
    gap: float = 0.0
    """The longest time between two messages lately."""
    steady: dict[int, float] = field(default_factory=dict)
    """Of ranks whose steps are not seen: for how many seconds they have compiled nothing more."""


class Captures:
    """The leader's captures, one at a time.

    Parameters
    ----------
    config
        The leader's own.
    tell
        Is called when agents or the operator have something new to hear; whether agents do is its argument.
    """

    def __init__(self, config: AgentConfig, book: Book, tell: Callable[[bool], None]) -> None:
        self._config, self._book, self._tell = config, book, tell
        self._present: Optional[_Present] = None
        self._past: list[Asked] = []
        self._requests: dict[str, dict[str, Any]] = {}
        self._paces: dict[Key, _Pace] = {}
        self._paced = book.attempt
        """The attempt that the paces are of: ranks that are started again count anew."""
        self._shown: Optional[State] = None
        self._is_full = ""

    @property
    def window(self) -> Optional[Window]:
        """What agents are told; None while nothing is captured."""
        return self._present.window if self._present is not None else None

    def asked(self) -> tuple[Asked, ...]:
        """Return what the operator is told."""
        present = self._present
        if present is None:
            return tuple(self._past)
        state = state_of(present.ranks, present.said)
        reason = "; ".join(filter(None, (present.why, state.reason)))
        return (*self._past, Asked(present.order.id, state.phase, state.ranks, len(present.ranks), reason))

    def count_in(self, outcome: Outcome) -> None:
        """Note what became of the captures in the outputs, whose budget may be used up."""
        self._is_full = outcome.problem
        past = [
            replace(asked, is_removed=True) if asked.id in outcome.removed else asked for asked in self._past
        ]
        if past != self._past:
            self._past = past
            self._tell(False)

    def requests(self) -> dict[str, dict[str, Any]]:
        """Return what is to be written down of each capture, by its id."""
        return requests(self._config, self._book, self._requests)

    def has_any(self, attempt: int) -> bool:
        """Whether a capture was asked for in an attempt, or taken by ourselves, or by the schedule."""
        is_scheduled = any(member.captures for member in self._book.members.values())
        return is_scheduled or any(found["attempt"] == attempt for found in self._requests.values())

    def steady(self) -> dict[int, float]:
        """Return for how many seconds the ranks whose steps are not seen have compiled nothing more."""
        self._follow_attempt()
        return {rank: seconds for found in self._paces.values() for rank, seconds in found.steady.items()}

    def unfinished(self) -> frozenset[str]:
        """Return the captures that are being written, or may be."""
        return unfinished(self._book, self.requests(), self.window)

    # What is asked for.

    def order(self, order: CaptureOrder, now: float) -> None:
        """Take an order; one of an id that is known changes nothing."""
        if not any(asked.id == order.id for asked in self.asked()):
            self._take(order, now, "")

    def take(self, order: CaptureOrder, why: str, now: float) -> bool:
        """Take a capture by ourselves, if there can be one now; `why` is for people."""
        if self._hindrance(order, self._ranks(order)):
            return False
        self._take(order, now, f"by itself: {why}")
        return True

    def _take(self, order: CaptureOrder, now: float, why: str) -> None:
        self._follow_attempt()
        ranks = self._ranks(order)
        hindrance = self._hindrance(order, ranks)
        if hindrance:
            self._keep(Asked(order.id, CapturePhase.REFUSED, 0, len(ranks), hindrance))
            self._tell(False)
            return
        self._present = _Present(order, ranks, why, now + FIRST_NEWS_SECONDS)
        self._settle(self._present, now)
        if self.window is None:
            self._tell(False)

    def _settle(self, present: _Present, now: float) -> None:
        """Say when the capture begins, as soon as it can be said."""
        order, ranks, why = present.order, present.ranks, present.why
        if self._is_soon_known(ranks) and now < present.deadline:
            return
        window, seconds = self._window(order, ranks, now)
        present.window, present.deadline = window, now + PATIENCE_SECONDS + 3 * seconds
        assert self._config.profiling is not None
        mode = "Automatic" if why else "OnDemand"
        wanted, attempt = self._config.profiling.wanted._replace(schedule={}), self._book.attempt
        document = request(order.id, attempt=attempt, mode=mode, wanted=wanted, ranks=ranks)
        self._requests[order.id] = {
            **document,
            "window": window.as_json(),
            **({"reason": why} if why else {}),
        }
        self._tell(True)

    def _ranks(self, order: CaptureOrder) -> list[int]:
        if not order.ranks:
            return self._book.profiled()
        # No more than there are, whatever the numbers.
        there = {rank for member in self._book.members.values() for rank in member.ranks}
        return sorted(rank for rank in there if any(rank in found for found in order.ranks))

    def _hindrance(self, order: CaptureOrder, ranks: Sequence[int]) -> str:
        """Say why there can be no such capture now, and what to do about it."""
        if self._present is not None:
            return f"capture {self._present.order.id} is under way; ask by another id once it has ended"
        if self._config.profiling is None:
            return "profiling.mode is Off; set it to OnDemand"
        if not self._config.keep_logs:
            return "a capture would be lost with its pod; give the job spec.outputs"
        if self._book.command != Command.START:
            return "the ranks do not run; ask by another id once they do"
        if sum(map(len, order.ranks)) > len(ranks) or not ranks:
            total = sum(len(member.ranks) for member in self._book.members.values())
            return f"there are ranks 0 to {total - 1} alone" if order.ranks else "no rank is profiled"
        return self._is_full

    # Which steps.

    def _window(self, order: CaptureOrder, ranks: Sequence[int], now: float) -> tuple[Window, float]:
        """Return the window, and how long it takes from now on until it is over."""
        steps, age, pace = self._how_far(ranks, now)
        numbers = to_ranges(ranks)
        if not steps:
            seconds = order.seconds or SECONDS
            lead = self._lead()
            at = time.time_ns() + int(lead * 1e9)
            wanted = 0 if order.seconds else order.steps or STEPS
            window = Window(order.id, numbers, at_ns=at, steps=wanted, seconds=seconds, stacks=order.stacks)
            return window, lead + seconds + wanted * (pace or 1.0)
        wanted = order.steps or STEPS
        if order.seconds and pace:
            wanted = max(1, min(STEPS_MAX, math.ceil(order.seconds / pace)))
        ahead = math.ceil((self._lead() + age) / pace) if pace else 0
        first = max(steps) + max(LEAST_STEPS_AHEAD, ahead)
        window = Window(order.id, numbers, at_step=first, steps=wanted, stacks=order.stacks)
        return window, (first - max(steps) + wanted) * (pace or 1.0)

    def _lead(self) -> float:
        """Return how long it may take until all ranks know: longer where messages are late."""
        gap = max((found.gap for found in self._paces.values()), default=0.0)
        return LEAD_SECONDS + min(LEAD_MAX_SECONDS, 2 * max(0.0, gap - USUAL_GAP_SECONDS))

    def _is_soon_known(self, ranks: Sequence[int]) -> bool:
        """Whether steps of some ranks were told, and those of others not yet."""
        counted = {rank for found in self._paces.values() for rank, step in found.steps.items() if step > 0}
        return 0 < len(counted.intersection(ranks)) < len(ranks)

    def _how_far(self, ranks: Sequence[int], now: float) -> tuple[list[int], float, Optional[float]]:
        """Return the ranks' steps, how old the news of them is, and the shortest step time.

        There are none where some rank's steps are not counted, or ranks count differently: those of an
        elastic job that has changed since. Then all begin at a time.
        """
        known = [found for found in self._paces.values() if found.steps]
        counted = {rank: step for found in known for rank, step in found.steps.items()}
        steps = [counted.get(rank, 0) for rank in ranks]
        age = max((now - found.heard for found in known), default=0.0)
        pace = min((found.seconds for found in known if found.seconds), default=None)
        spread = max(LEAST_STEPS_AHEAD, math.ceil((NEWS_SECONDS + age) / pace) if pace else 0)
        if min(steps) <= 0 or max(steps) - min(steps) > spread:
            return [], age, pace
        return steps, min(age, NEWS_SECONDS), pace

    # What ranks say.

    def hear(self, key: Key, data: Mapping[str, Any], now: float) -> None:
        """Take in what an agent says of its ranks."""
        self._follow_attempt()
        if data.get("attempt") != self._paced:
            return  # it has not heard of the present one yet
        told, progress = data.get("ranks"), data.get("progress")
        steps = {
            rank: counted
            for item in (told if isinstance(told, list) else ())
            if (rank := count(item.get("rank"))) is not None
            and (counted := count(item.get("counted", item.get("step")))) is not None
        }
        steady = {
            rank: seconds
            for item in (told if isinstance(told, list) else ())
            if (rank := count(item.get("rank"))) is not None
            and (seconds := finite(item.get("steadySeconds"))) is not None
        }
        pace = finite(progress.get("stepSeconds")) if isinstance(progress, dict) else None
        before = self._paces.get(key)
        gap = 0.0 if before is None else max(now - before.heard, GAP_FADES * before.gap)
        self._paces[key] = _Pace(now, steps, pace if pace is not None and pace > 0 else None, gap, steady)
        present, words = self._present, data.get("capture")
        if present is None:
            return
        if present.window is not None and isinstance(words, dict):
            _take_in(present, words)
        if present.window is None or self._book.command != Command.START:
            self.look(now)
        else:
            self._look(present)

    def look(self, now: float) -> None:
        """End what can't go on."""
        present = self._present
        if present is None:
            return
        if present.window is None and self._book.command == Command.START:
            self._settle(present, now)
        elif present.window is None:
            self._give_up(present, "the attempt has ended")
        elif now >= present.deadline:
            self._give_up(present, "")
        else:
            # At the end of an attempt, too, ranks that can leave what they have, and say so.
            states = {rank: state for m in self._book.members.values() for rank, state in m.ranks.items()}
            for rank in present.ranks:
                has_ended = states.get(rank) not in {RankState.RUNNING, RankState.WAITING}
                if has_ended and not _is_final(present.said.get(rank)):
                    present.said[rank] = _failed(present, "the rank has ended")
        if self._present is present:
            self._look(present)

    def next_look(self, now: float) -> float:
        """Return when `look` may find something without a message."""
        return max(self._present.deadline, now + 0.1) if self._present is not None else math.inf

    def _give_up(self, present: _Present, why: str) -> None:
        for rank in present.ranks:
            said = present.said.get(rank)
            if not _is_final(said):
                present.said[rank] = _failed(present, why or _late(said))
        self._look(present)

    def _look(self, present: _Present) -> None:
        """Tell the operator what is new; end a capture that is over."""
        state = state_of(present.ranks, present.said)
        if state.phase.is_final:
            ended, self._present, self._shown = self.asked()[-1], None, None
            self._keep(ended)
            self._tell(True)  # ranks that have not begun need not
        elif state != self._shown:
            self._shown = state
            self._tell(False)

    def _follow_attempt(self) -> None:
        if self._paced != self._book.attempt:
            self._paced, self._paces = self._book.attempt, {}

    def _keep(self, ended: Asked) -> None:
        self._past = [*self._past, ended][-(TOLD_MAX - 1) :]


def _take_in(present: _Present, words: Mapping[str, Any]) -> None:
    """Note what ranks say; a last word stays."""
    chosen = set(present.ranks)
    for name, word in words.items():
        said = RankCapture.read(word)
        rank = int(name) if name.isdecimal() and len(name) < 9 else -1
        is_meant = said is not None and said.id == present.order.id and rank in chosen
        if said is not None and is_meant and not _is_final(present.said.get(rank)):
            present.said[rank] = said


def _late(said: Optional[RankCapture]) -> str:
    if said is None:
        return "it did not answer: no framework that can be captured was seen in its program"
    if said.phase == RankPhase.ARMED:
        return "its first step did not come in time"
    return f"it was {said.phase} for too long"


def _is_final(said: Optional[RankCapture]) -> bool:
    return said is not None and RankPhase(said.phase).is_final


def _failed(present: _Present, why: str) -> RankCapture:
    return RankCapture(present.order.id, RankPhase.FAILED, note=why)
