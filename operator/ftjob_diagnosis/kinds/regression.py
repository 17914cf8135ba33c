"""The job was faster before."""

from __future__ import annotations

from statistics import median
from typing import Optional

from ftjob_diagnosis import words
from ftjob_diagnosis.findings import Confidence, Evidence, Finding, Kind
from ftjob_diagnosis.robust import lower_median
from ftjob_diagnosis.view import Measure, View
from ftjob_diagnosis.window import Block, RankBlock, Step

KIND = Kind.REGRESSION
FACTOR = 1.3
LEAST_BEFORE, BEST = 2, 0.2
"""Blocks before; which quantile of them is the norm: the upper end of the best fifth."""
PARTS = (("input", "input_ms"), ("own work", "own_ms"), ("waiting for others", "blocked_ms"))


def measure(view: View) -> Optional[Measure]:
    """Compare the last block with the best fifth of all before the last two."""
    return Measure((), strength(view, ())) if len(view.blocks) > LEAST_BEFORE else None


def strength(view: View, ranks: tuple[int, ...]) -> float:
    """Return the growth against its threshold."""
    return (growth(view) - 1) / (FACTOR - 1)


def growth(view: View) -> float:
    """Return how many times as long as at its best a step takes; 1 where too little is known."""
    norm = best(view)
    return 1.0 if norm is None else view.usual[-1] / view.usual[norm]


def best(view: View) -> Optional[int]:
    """Return which block is as fast as the best fifth of all before the last two, which may be slow alike."""
    count = len(view.window.blocks) - 2
    if count < LEAST_BEFORE:
        return None
    ordered = sorted(range(count), key=view.usual.__getitem__)
    return ordered[int(BEST * (count - 1))]


def describe(view: View, ranks: tuple[int, ...], confidence: Confidence) -> Finding:
    """Say since when, and which part grew."""
    fastest = best(view) or 0
    fast, slow = view.usual[fastest], view.usual[-1]
    limit = fast * (1 + (FACTOR - 1) / 2)
    begin = len(view.blocks) - 1
    while begin > 0 and view.usual[begin - 1] >= limit:
        begin -= 1
    norm, since, now = view.blocks[fastest], view.blocks[begin], view.blocks[-1]
    first = min((step.step for row in since.ranks for step in row.steps), default=0)
    ago = ago_s(now, since)
    grown = {name: part(now, field) - part(norm, field) for name, field in PARTS if seen(now, field)}
    most = max(grown, key=lambda name: grown[name], default=None)
    grew = f", {most} grew most" if most and grown[most] >= 0.5 * (slow - fast) else ""
    at = f"step {first}" if first else f"block {since.number}"
    said = (
        f"steps take {slow / fast:.1f} times as long as before, since {at} ({words.seconds(ago)} ago){grew}"
    )
    return Finding(
        KIND,
        ranks,
        None,
        None,
        1 - fast / slow,
        confidence,
        None,
        (Evidence(f"{slow:.1f} ms a step, {fast:.1f} before", "stepMs/p50"),),
        "look at what changed then: the data, the size of batches, neighbours on the node, the GPU's clock",
        words.verdict("regression", said, None),
    )


def ago_s(now: Block, since: Block) -> float:
    """Return the time from the begin of one block to the end of another, on a clock of a rank in both."""
    began = {row.rank: row.start_s for row in since.ranks}
    return next((row.end_s - began[row.rank] for row in now.ranks if row.rank in began), 0.0)


def typical(row: RankBlock) -> Optional[Step]:
    """Return a rank's medians."""
    if row.typical is not None or not row.steps:
        return row.typical

    def middle(name: str) -> Optional[float]:
        values = [getattr(step, name) for step in row.steps]
        return None if None in values else median(values)

    return Step(0, middle("step_ms") or 0.0, middle("input_ms"), middle("own_ms"), middle("blocked_ms"))


def seen(block: Block, field: str) -> bool:
    """Whether all ranks measured a part."""
    found = [typical(row) for row in block.ranks]
    return all(each is not None and getattr(each, field) is not None for each in found)


def part(block: Block, field: str) -> float:
    """Return the part of the median rank."""
    values = [getattr(found, field) for found in map(typical, block.ranks) if found is not None]
    known = [value for value in values if value is not None]
    return lower_median(known) if known else 0.0
