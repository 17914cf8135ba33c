"""Which line of the user's code it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Optional

from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.window import Line

WAITING = ("collective", "sync")
"""A rank in such a line waits for what others do."""
Lines = Sequence[Line]


def shares(ranks: Sequence[Lines], kinds: Optional[Iterable[str]] = None) -> dict[str, float]:
    """Return each line's mean share of the time of these ranks."""
    sums: dict[str, float] = defaultdict(float)
    wanted = None if kinds is None else set(kinds)
    for lines in ranks:
        for text, kind, share in lines:
            if wanted is None or kind in wanted:
                sums[text] += share
    return {text: total / len(ranks) for text, total in sums.items()}


def top(ranks: Sequence[Lines], kind: str, least: float = 0.03) -> Optional[str]:
    """Return the line of one kind that most time is spent in."""
    found = shares(ranks, [kind])
    best = max(found, key=lambda text: found[text], default=None)
    return best if best is not None and found[best] >= least else None


def differing(slow: Sequence[Lines], rest: Sequence[Lines], least: float) -> Optional[str]:
    """Return the line that the slow ranks spend more time in than the rest do, by the largest difference."""
    waits = {text for lines in (*slow, *rest) for text, kind, _ in lines if kind in WAITING}
    here, there = shares(slow), shares(rest)
    more = {text: share - there.get(text, 0.0) for text, share in here.items() if text not in waits}
    best = max(more, key=lambda text: more[text], default=None)
    return best if best is not None and more[best] >= least else None


def typical(values: Sequence[Optional[float]]) -> Optional[float]:
    """Return the lower median of what was measured; None where it was not."""
    known = [value for value in values if value is not None]
    return lower_median(known) if known else None
