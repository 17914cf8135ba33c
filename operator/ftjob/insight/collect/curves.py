"""Lines, a map and marks over the job's time, with few enough points for a page."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from ftjob.insight.summary import Curve, Curves, Heat, Mark
from ftjob_diagnosis.kinds.memory_growth import DAY_S, LEAST, grown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ftjob.insight.collect.vitals import Line
    from ftjob.insight.summary import Capture, Summary

POINTS, COLUMNS, MARKS = 300, 120, 100
_GIB = float(1 << 30)
_LINES: tuple[tuple[str, str, Callable[[Line], float | None]], ...] = (
    ("step", "ms", lambda line: line.step_ms[0]),
    ("step, 95th percentile", "ms", lambda line: line.step_ms[1]),
    ("input", "ms", lambda line: line.input_ms[0] if line.input_ms else None),
    ("blocked", "ms", lambda line: line.blocked_ms[0] if line.blocked_ms else None),
    ("CPU", "ms", lambda line: line.cpu_ms),
    (
        "memory of the largest rank",
        "GiB",
        lambda line: None if line.rss_bytes is None else line.rss_bytes / _GIB,
    ),
    (
        "GPU memory of the largest rank",
        "GiB",
        lambda line: None if line.gpu_bytes is None else line.gpu_bytes / _GIB,
    ),
)


def curves(ranks: Mapping[int, Sequence[Line]]) -> Curves | None:
    """Return medians over the ranks, of memory the most, at evenly spread times."""
    lines = [line for found in ranks.values() for line in found]
    start, end = min(line.end_s for line in lines), max(line.end_s for line in lines)
    count = min(POINTS, max(len(found) for found in ranks.values()))
    if count < 2 or end <= start:
        return None
    bins: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        bins[min(count - 1, int((line.end_s - start) / (end - start) * count))].append(line)
    used = sorted(bins)
    drawn = []
    for name, unit, of in _LINES:
        together = max if unit == "GiB" else median
        values = [
            _point([value for line in bins[i] if (value := of(line)) is not None], together) for i in used
        ]
        if any(value is not None for value in values):
            drawn.append(Curve(name=name, unit=unit, values=values))
    limit = min((line.memory_limit_bytes for line in lines if line.memory_limit_bytes), default=None)
    return Curves(
        time=[round(start + (i + 0.5) * (end - start) / count, 1) for i in used],
        lines=drawn,
        limit_bytes=limit,
        limit_time=_limit_time(ranks, limit) if limit else None,
    )


def _limit_time(ranks: Mapping[int, Sequence[Line]], limit: int) -> float | None:
    """Return when the first rank will have used up its memory, as the verdict foretells it."""
    attempt = max(line.attempt for lines in ranks.values() for line in lines)
    sizes = {
        rank: [
            (line.end_s, line.rss_bytes)
            for line in lines
            if line.attempt == attempt and line.rss_bytes is not None
        ]
        for rank, lines in ranks.items()
    }
    most = {
        rank: found for rank, found in sizes.items() if found and found[-1][1] - found[0][1] >= LEAST * limit
    }
    times = [
        most[each.rank][-1][0] + each.left_s for each in grown("memory", limit, most) if each.left_s <= DAY_S
    ]
    return round(min(times), 1) if times else None


def _point(values: Sequence[float], together: Callable[[Sequence[float]], float]) -> float | None:
    return round(together(values), 3) if values else None


def heat(ranks: Mapping[int, Sequence[Line]]) -> Heat | None:
    """Return the own time of each rank over the blocks, several in one column if there are many."""
    firsts = sorted({line.first for lines in ranks.values() for line in lines})
    size = -(-len(firsts) // COLUMNS)
    column = {first: i // size for i, first in enumerate(firsts)}
    rows = []
    for rank in sorted(ranks):
        cells: dict[int, list[float]] = defaultdict(list)
        for line in ranks[rank]:
            if line.own_ms is not None:
                cells[column[line.first]].append(line.own_ms[0])
        rows.append([_point(cells.get(i, []), median) for i in range(-(-len(firsts) // size))])
    if all(value is None for row in rows for value in row):
        return None
    return Heat(columns=firsts[::size], own_ms=rows)


def marks(ranks: Mapping[int, Sequence[Line]], captures: Sequence[Summary]) -> list[Mark]:
    """Return when the job was restarted and captured, and its longest pauses."""
    found = [
        Mark(time=capture.time, kind="Capture", text=_captured(capture))
        for summary in captures
        if (capture := summary.capture) is not None and capture.time is not None
    ]
    lines = next(iter(ranks.values()))
    for before, after in pairwise(lines):
        if after.attempt > before.attempt:
            found.append(Mark(time=after.start_s, kind="Restart", text=f"attempt {after.attempt} began"))
    pauses = sorted(
        {(step, length, line.end_s) for line in lines for step, length in line.pauses}, key=lambda p: -p[1]
    )
    found += [
        Mark(time=time, kind="Pause", text=f"step {step} took {length / 1e3:.1f} s")
        for step, length, time in pauses[: max(0, MARKS - len(found))]
    ]
    return sorted(found, key=lambda mark: mark.time)[:MARKS]


def _captured(capture: Capture) -> str:
    if not capture.steps:
        return capture.id
    first, last = capture.steps
    return f"{capture.id}, step {first}" if first == last else f"{capture.id}, steps {first} to {last}"
