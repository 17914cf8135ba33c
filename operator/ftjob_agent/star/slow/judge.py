"""Why a job is slow: the leader's judgement, reached anew with each block of steps.

The diagnosis itself is a pure function. With many ranks it takes a while, so it runs in a thread of its own.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Collection, Mapping, Optional

from ftjob_agent.star.slow.kept import Kept
from ftjob_agent.star.slow.spent import Spent
from ftjob_diagnosis.diagnose import diagnose
from ftjob_diagnosis.findings import Confidence, Diagnosis, Kind
from ftjob_diagnosis.window import Window
from ftjob_protocol.values.fields import finite
from ftjob_protocol.values.ranges import to_ranges
from ftjob_protocol.vitals import verdict as wire
from ftjob_protocol.vitals.block import BLOCKS_TOLD, Lengths, Report, lengths

if TYPE_CHECKING:
    from ftjob_diagnosis.findings import Finding

BLOCK_SECONDS = 30.0
FIRST_SECONDS = 5.0
"""The first blocks are shorter, so that what is slow from the start is known soon."""
GROWTH = 4
"""A block takes one part in so many of the time for which the ranks have made steps."""
TOLD_SECONDS = 10.0
"""Until all agents are sure to know how long blocks are to be, also those that say little."""
LEAST_BLOCKS = 2
BLIND_BLOCKS = 3
"""It is believed after so many blocks that the ranks' work can't be seen."""
PATIENT_BLOCKS = 4
"""That nothing can be said is said after so many blocks."""


@dataclass(frozen=True)
class Scene:
    """What is known of the ranks beside their blocks."""

    life: object
    """Which ranks run together: another value, and all begins anew."""
    ranks: int
    progress: Optional[Mapping[str, Any]]
    """Of the lowest rank that has told any."""


class Judge:
    """Keeps blocks, and has them judged.

    Parameters
    ----------
    strategy
        The job's.
    post
        Has a call made in the agent's loop.
    tell
        Is called in the loop when the verdict is another one.
    """

    def __init__(
        self, strategy: str, post: Callable[[Callable[[], None]], None], tell: Callable[[], None]
    ) -> None:
        self._strategy, self._post, self._tell = strategy, post, tell
        self._scene = Scene(None, 0, None)
        self._kept, self._spent = Kept(0), Spent()
        self._diagnosis: Optional[Diagnosis] = None
        self._is_running, self._is_due = False, False
        self._warned = ""
        self._stepping_since: Optional[float] = None
        self.verdict: Optional[wire.Verdict] = None
        """Why the job is slow, as far as is known."""
        self.block_lengths = Lengths()
        """How many steps a block is to have; not known before it is known how long steps take."""

    @property
    def is_blind(self) -> bool:
        """Whether steps are seen, and the ranks' work in them is not: they wait in what is compiled."""
        return len(self._kept.blocks) >= BLIND_BLOCKS and self._kept.is_blind

    def shares(self) -> Mapping[str, float]:
        """Return what the time of the steps went into, beside the ranks' own work."""
        return self._spent.shares()

    def look(self, scene: Scene, now: float) -> None:
        """Note which ranks run, and how fast; before anything is heard of them."""
        if scene.life != self._scene.life or scene.ranks != self._scene.ranks:
            self._begin_anew(scene.ranks)
        self._scene = scene
        pace = finite((scene.progress or {}).get("stepSeconds"))
        if pace is None or pace <= 0:
            return
        if self._stepping_since is None:
            self._stepping_since = now
        seconds = min(BLOCK_SECONDS, max(FIRST_SECONDS, (now - self._stepping_since) / GROWTH))
        step = int(finite((scene.progress or {}).get("step")) or 0)
        self._choose(seconds / pace, step, known=step + math.ceil(TOLD_SECONDS / pace))

    def _choose(self, wanted: float, step: int, known: int) -> None:
        """Choose another length if blocks are to have far more or fewer steps."""
        now = self.block_lengths
        is_about_to_change = now.before and step < now.since <= known
        if is_about_to_change or (now.length and now.length / 2 <= wanted < 2 * now.length):
            return
        possible = lengths(self._scene.ranks)
        length = max((length for length in possible if length <= wanted), default=possible[0])
        if length != now.length:
            self.block_lengths = now.then(length, step, known)

    def hear(self, who: str, data: Any, ranks: Collection[int]) -> None:
        """Take in what an agent tells of its ranks' steps; what can't be understood is left out."""
        try:
            report = _report(data, ranks)
        except ValueError as error:
            if who != self._warned:
                self._warned = who
                sys.stderr.write(f"ftjob: the steps of {who} are left out of the verdict: {error}\n")
            return
        if any(map(self._kept.begins_anew, report.blocks)):
            self._begin_anew(self._scene.ranks)
        self._spent.add(report.blocks)
        if self._kept.take(report, len(ranks)) and len(self._kept.blocks) >= LEAST_BLOCKS:
            self._is_due = True
            self._judge()

    def _begin_anew(self, ranks: int) -> None:
        self._kept, self._diagnosis, self._spent = Kept(ranks), None, Spent()
        self._stepping_since, self.block_lengths = None, Lengths()
        self._is_due = False

    def _judge(self) -> None:
        if self._is_running or not self._is_due:
            return
        self._is_running, self._is_due = True, False
        kept, before = self._kept, self._diagnosis
        window = Window(
            kept.blocks,
            kept.ranks,
            self._strategy,
            eta_s=_eta(self._scene.progress or {}),
            memory_limit_bytes=kept.memory_limit,
            seen=kept.seen,
        )

        def run() -> None:
            try:
                found: Optional[Diagnosis] = diagnose(window, before)
            except Exception as error:  # a defect of ours must not end the training
                sys.stderr.write(f"ftjob: no verdict on the last steps: {type(error).__name__}: {error}\n")
                found = None
            self._post(lambda: self._take(kept, window, found))

        threading.Thread(target=run, name="ftjob-diagnose", daemon=True).start()

    def _take(self, kept: Kept, window: Window, found: Optional[Diagnosis]) -> None:
        self._is_running = False
        if found is not None and kept is self._kept:
            self._diagnosis = found
            if found.kind is not Kind.UNKNOWN or len(window.blocks) >= PATIENT_BLOCKS:
                self._say(told(found, _step_ms(window), time.time()))
        self._judge()

    def _say(self, verdict: wire.Verdict) -> None:
        before, self.verdict = self.verdict, verdict
        if before is None or before.identity != verdict.identity:
            self._tell()


def _report(data: Any, ranks: Collection[int]) -> Report:
    report = Report.read(data, most=BLOCKS_TOLD * len(ranks))
    if not {block.rank for block in report.blocks} <= set(ranks):
        raise ValueError("vitals.blocks are of others' ranks")
    return report


def told(diagnosis: Diagnosis, step_ms: float, now: float) -> wire.Verdict:
    """Return a diagnosis in the form in which the operator is told; what is not sure is left out."""
    sure = [found for found in diagnosis.findings if found.confidence is not Confidence.LOW]
    return wire.Verdict(
        diagnosis.text,
        str(diagnosis.kind),
        now,
        tuple(_finding(found, step_ms) for found in sure[: wire.FINDINGS_MAX]),
    )


def _finding(found: Finding, step_ms: float) -> wire.Finding:
    return wire.Finding(
        kind=str(found.kind),
        text=found.text,
        confidence=str(found.confidence),
        cost_share=min(1.0, max(0.0, found.cost_share)),
        ranks=to_ranges(found.ranks),
        node=found.node or "",
        cause=str(found.cause) if found.cause is not None else "",
        line=found.line or "",
        excess_ms=found.cost_share * step_ms if found.ranks else None,
        evidence=tuple(evidence.text for evidence in found.evidence),
        next=found.next,
    )


def _step_ms(window: Window) -> float:
    """Return how long a step takes now."""
    found = sorted(rank.typical.step_ms for rank in window.blocks[-1].ranks if rank.typical is not None)
    return found[len(found) // 2] if found else 0.0


def _eta(progress: Mapping[str, Any]) -> Optional[float]:
    step, total, pace = (finite(progress.get(key)) for key in ("step", "totalSteps", "stepSeconds"))
    if step is None or total is None or pace is None or not total:
        return None
    return max(0.0, total - step) * pace
