"""What is said where no finding is: that all is well, or why one can't know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Diagnosis, Finding
from ftjob_diagnosis.kinds import host_contention
from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.table import Column, Table
from ftjob_diagnosis.view import View
from ftjob_diagnosis.window import Seen, Window


def unknown(window: Window, why: str) -> Diagnosis:
    """Return a diagnosis that says only why there is none."""
    return Diagnosis((), words.cut(f"unknown: {why}", words.LONGEST), window.seen, (why,))


@dataclass(frozen=True)
class Coverage:
    """Which signals were measured."""

    seen: Seen
    notes: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether each problem would have been seen."""
        return not self.notes

    @classmethod
    def of(cls, view: View) -> Coverage:
        """Say what was not measured."""
        table, seen = view.table, view.window.seen
        has_input = seen.input and table.measured(table.input)
        alone = len(table.ranks) == 1
        has_collectives = alone or (
            seen.collectives and table.measured(table.own) and table.measured(table.blocked)
        )
        notes = [f"{table.missing} of {view.window.ranks} ranks"] if table.missing else []
        if not has_input:
            notes.append("input time (inside the framework's graph, or by a loader that is not known)")
        if not has_collectives:
            notes.append("communication (ranks can't be seen waiting for each other)")
        if host_contention.shares(table) is None:
            notes.append("waiting for cores of the host")
        return cls(Seen(has_input, has_collectives), tuple(notes))


def nothing_found(view: View, coverage: Coverage, is_clear: bool, low: Sequence[Finding]) -> str:
    """Say that no problem was found, with the numbers, or what could not be seen."""
    table = view.table
    numbers = f"{figures(table)} ({table.steps} steps)"
    if is_clear:
        return words.cut(f"no problem found: {numbers}", words.LONGEST)
    if low:
        return words.cut(f"not sure yet: {numbers}", words.LONGEST)
    if coverage.notes:
        unseen = ", ".join(note.partition(" (")[0] for note in coverage.notes)
        return words.cut(f"nothing found; not seen: {unseen}; {numbers}", words.LONGEST)
    return words.cut(f"no clear problem: {numbers}", words.LONGEST)


def figures(table: Table) -> str:
    """Return the parts of a step, in percent."""
    usual = table.typical_ms
    parts = []
    loaded = _part(table, table.input, usual)
    own = _part(table, table.own, usual)
    blocked = _part(table, table.blocked, usual)
    if own is not None:
        parts.append(f"{words.percent(own - (loaded or 0.0))} own work")
    if loaded is not None:
        parts.append(f"{words.percent(loaded)} input")
    if blocked is not None and len(table.ranks) > 1:
        parts.append(f"{words.percent(blocked)} communication")
    text = ", ".join(parts) or f"{words.ms(usual)} a step"
    if table.excess and table.measured(table.own):
        text += f"; ranks within {words.percent(max(table.excess.values()) / usual)}"
    return text


def _part(table: Table, columns: Sequence[Column], usual: float) -> float | None:
    """Return the median rank's share of the step."""
    if not table.measured(columns):
        return None
    return lower_median([median(column) for column in columns if column is not None]) / usual
