"""``ftjob diff``: what has changed between two jobs, captures or summaries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import FAILED, SUCCEEDED
from ftjob.cli.terminal import one_line, say, shown
from ftjob.insight import child
from ftjob.insight.diff import Change, compare
from ftjob.insight.summary import SummaryError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_GROUPS = (("ranks", "RANK'S OWN WORK"), ("operators", "OPERATOR"), ("lines", "LINE OF CODE"))


def main(args: argparse.Namespace) -> int:
    """Print what is different."""
    try:
        before, after = (child.summary(Path(path)) for path in (args.before, args.after))
    except (child.CollectorError, SummaryError) as error:
        say(one_line(str(error)))
        return FAILED
    found = compare(before, after)
    if not found.parts:
        say("nothing to compare: no steps were measured in one of them")
        return FAILED
    print(f"before: {shown(before.verdict.text)}\nafter:  {shown(after.verdict.text)}\n")
    for note in found.notes:
        print(f"note: {shown(note)}")
    print(_table("A STEP", found.parts))
    for field, title in _GROUPS:
        changes: Sequence[Change] = getattr(found, field)
        if changes:
            print(f"\n{_table(title, changes)}")
    return SUCCEEDED


def _table(title: str, changes: Sequence[Change]) -> str:
    rows = [(title, "BEFORE", "AFTER", "CHANGE")]
    rows += [(one_line(c.name), _number(c.before, c.unit), _number(c.after, c.unit), _by(c)) for c in changes]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}"
        for row in rows
    )


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.1f} {unit}"


def _by(change: Change) -> str:
    if not change.matters:
        return "same"
    share = f" ({change.by / change.before * 100:+.0f} %)" if change.before else ""
    return f"{change.by:+.1f} {change.unit}{share}"
