"""From what the ranks measured to what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from ftjob_diagnosis.findings import Confidence, Diagnosis, Finding, Kind
from ftjob_diagnosis.history import of_block
from ftjob_diagnosis.kinds import (
    communication_bound,
    host_contention,
    imbalance,
    input_bound,
    launch_bound,
    memory_growth,
    pauses,
    regression,
    straggler,
    uneven_cpu,
)
from ftjob_diagnosis.summary import Coverage, nothing_found, unknown
from ftjob_diagnosis.table import MOST, Table, build, usual_ms
from ftjob_diagnosis.view import Judge, Measure, View
from ftjob_diagnosis.window import MEMORY, Block, Window

JUDGES: tuple[Judge, ...] = (
    straggler,
    uneven_cpu,
    imbalance,
    input_bound,
    communication_bound,
    host_contention,
    pauses,
    regression,
    memory_growth,
    launch_bound,
)
FEWEST, ENOUGH, SURE = 16, 32, 30
"""Steps without which nothing is said; for which earlier blocks are taken in; for the highest confidence."""
CLEAR, HELD = 0.7, 0.8
"""Of the threshold: below it, a verdict ends. Of the steps: a sure finding holds in so many."""
EFFECT = 0.5
"""Of what a regression costs must another finding cost to be its cause."""


def diagnose(window: Window, before: Optional[Diagnosis] = None) -> Diagnosis:
    """Say why the job is slow.

    Parameters
    ----------
    window
        The blocks so far; call it after each new one.
    before
        The diagnosis of the blocks before the last: a verdict stays until it is clearly over.
    """
    if window.strategy == "ParameterServer":
        return unknown(window, "the workers of parameter servers don't wait for each other: not judged")
    recent, table = take(window)
    if not recent:
        return unknown(window, "no block of steps so far")
    present = len(recent[-1].ranks)
    if present < MOST * window.ranks or len(table.ranks) < MOST * window.ranks:
        absent = window.ranks - min(present, len(table.ranks))
        return unknown(window, f"these steps of {absent} of {window.ranks} ranks are not known")
    if table.steps < FEWEST:
        return waiting(window, table, before)
    return Judgement(window, recent, table, before).diagnosis()


def waiting(window: Window, table: Table, before: Optional[Diagnosis]) -> Diagnosis:
    """Say that more steps are needed; what was known before stays known."""
    if before is not None and before.verdict is not None:
        return before
    return unknown(window, f"{table.steps} of {FEWEST} usual steps so far")


def take(window: Window) -> tuple[tuple[Block, ...], Table]:
    """Return the last two blocks, or a few more if steps are slow, and the table of their steps."""
    blocks = window.blocks
    count = min(2, len(blocks))
    table = build(blocks[len(blocks) - count :], window.ranks)
    while table.steps < ENOUGH and count < min(MEMORY.whole, len(blocks)):
        count += 1
        more = build(blocks[-count:], window.ranks)
        if more.steps <= table.steps:
            count -= 1
            break
        table = more
    return blocks[len(blocks) - count :], table


class Judgement:
    """One window under all judges: in whole, and in two halves that must both say the same."""

    def __init__(
        self, window: Window, recent: tuple[Block, ...], table: Table, before: Optional[Diagnosis]
    ) -> None:
        self.window, self.before = window, before
        usual = tuple(usual_ms(block.ranks) for block in window.blocks)
        histories = tuple(map(of_block, window.blocks, usual))
        self.whole = View(window, window.blocks, table, usual, histories)
        middle = len(recent) // 2
        halves = [
            replace(self.whole.before(), table=table.part(0, middle)),
            replace(self.whole, table=table.part(middle, len(recent))),
        ]
        self.halves = halves if middle and all(half.table.steps for half in halves) else []

    def diagnosis(self) -> Diagnosis:
        """Ask all judges, and put the findings in order."""
        measures = [(judge, judge.measure(self.whole)) for judge in JUDGES]
        lately = [(judge, judge.measure(half)) for half in self.halves[-1:] for judge in JUDGES]
        found = [self.found(judge, measure) for judge, measure in measures if measure is not None]
        found += [self.once(judge, measure) for judge, measure in lately if measure is not None]
        found += [self.kept(judge, measure) for judge, measure in measures]
        findings = in_order([each for each in found if each is not None])
        coverage = Coverage.of(self.whole)
        told = next((each for each in findings if each.confidence is not Confidence.LOW), None)
        near = max((each.strength for _, each in measures + lately if each is not None), default=0.0)
        is_clear = not findings and coverage.is_whole and len(self.halves) == 2 and near < CLEAR
        text = told.text if told else nothing_found(self.whole, coverage, is_clear, findings)
        return Diagnosis(tuple(findings), text, coverage.seen, coverage.notes, is_clear)

    def found(self, judge: Judge, measure: Measure) -> Optional[Finding]:
        """Return what is beyond its threshold, with how sure that is."""
        if measure.strength < 1:
            return None
        return judge.describe(self.whole, measure.ranks, self.confidence(judge, measure))

    def once(self, judge: Judge, measure: Measure) -> Optional[Finding]:
        """Return what only the later half shows: it may have begun just now."""
        if measure.strength < 1:
            return None
        return judge.describe(self.halves[-1], measure.ranks, Confidence.LOW)

    def confidence(self, judge: Judge, measure: Measure) -> Confidence:
        """Return how sure a finding is: it must hold in both halves, with all ranks there."""
        twice = len(self.halves) == 2 and all(
            judge.strength(half, measure.ranks) >= 1 for half in self.halves
        )
        table = self.whole.table
        if not twice or table.missing:
            return Confidence.LOW
        sure = measure.strength >= measure.high and measure.persistence >= HELD and table.steps >= SURE
        return Confidence.HIGH if sure and measure.best is Confidence.HIGH else Confidence.MEDIUM

    def kept(self, judge: Judge, measure: Optional[Measure]) -> Optional[Finding]:
        """Return what was told before and is not clearly over, nor found anew."""
        if self.before is None or measure is None:
            return None
        for old in self.before.findings:
            if old.kind is not judge.KIND or old.confidence is Confidence.LOW:
                continue
            sure = self.confidence(judge, measure) is not Confidence.LOW
            if measure.strength >= 1 and measure.ranks == old.ranks and sure:
                return None
            if any(judge.strength(half, old.ranks) >= CLEAR for half in self.halves):
                return judge.describe(self.whole, old.ranks, Confidence.MEDIUM)
        return None


def in_order(findings: list[Finding]) -> list[Finding]:
    """Put the costliest first, each subject once, and a regression after what explains it."""
    best: dict[tuple[Kind, tuple[int, ...]], Finding] = {}
    for each in findings:
        key = (each.kind, each.ranks)
        if key not in best or best[key].confidence is Confidence.LOW is not each.confidence:
            best[key] = each
    explained = EFFECT if len(best) > 1 else 1.0

    def weight(finding: Finding) -> float:
        return -finding.cost_share * (explained if finding.kind is Kind.REGRESSION else 1.0)

    return sorted(best.values(), key=lambda each: (weight(each), each.kind, each.ranks))
