"""Now and then all steps stand still: a checkpoint, an evaluation."""

from __future__ import annotations

from collections import Counter
from typing import Optional

from ftjob_diagnosis import where, words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.history import History
from ftjob_diagnosis.view import Measure, View

KIND = Kind.PAUSES
SHARE = 0.1


def measure(view: View) -> Optional[Measure]:
    """Find all pauses, and who makes them."""
    return Measure(makers(view.history), strength(view, ()))


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the share of pauses against its threshold."""
    return view.history.share / SHARE


def makers(found: History) -> tuple[int, ...]:
    """Return the ranks that make most of the pauses; none: all do, or it was not seen."""
    counts = Counter(pause.ranks for pause in found.pauses)
    ranks, count = counts.most_common(1)[0] if counts else (None, 0)
    return tuple(sorted(ranks)) if ranks and 2 * count > len(found.pauses) else ()


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Name the line, and who waits."""
    found = view.history
    count, lost = len(found.pauses), sum(pause.lost_ms for pause in found.pauses)
    line = line_of(view, ranks, found.share)
    who = f"; {words.of_ranks(ranks)} alone, others wait" if ranks else ""
    each = f", {count} times {words.ms(lost / count)}" if count else ""
    return Finding(
        KIND,
        ranks,
        None,
        None,
        found.share,
        confidence,
        line,
        (Evidence(f"{count} pauses, {words.seconds(lost / 1000)} in all", "window/excluded/pauses"),),
        "save and evaluate less often, or in the background (asynchronous checkpoints), each rank its shard",
        words.verdict("paused", f"{words.percent(found.share)} of the time{each}", line, who),
    )


def line_of(view: View, ranks: tuple[int, ...], share: float) -> Optional[str]:
    """Return the line that saves, or else the one in which only these ranks are."""
    rows = [row for row in view.blocks[-1].ranks if row.where]
    own = [row.where for row in rows if row.rank in ranks or not ranks]
    if not own:
        return None
    saves = where.top(own, "save", 0.02)
    if saves or not ranks:
        return saves
    rest = [row.where for row in rows if row.rank not in ranks]
    return where.differing(own, rest, 0.3 * share) if rest else None
