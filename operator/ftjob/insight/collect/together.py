"""What the ranks of a capture say together: clocks, collectives, excesses."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from statistics import fmean, median, median_low
from typing import TYPE_CHECKING

from ftjob.insight.summary import Clock, Collective

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftjob.insight.collect.figures import Figures, Matched

LEAST_MATCHES = 3
ROWS = 200
"""Of the table of collectives."""


@dataclass(frozen=True)
class Clocks:
    """What to add to each rank's times, in nanoseconds, and how well that fits."""

    offsets: Mapping[int, int]
    clock: Clock


def aligned(ranks: Sequence[Figures]) -> list[Figures]:
    """Give calls the same numbers in all ranks, where only their places in the traces are known.

    Without steps a trace begins with any call. Hosts' clocks differ by less than the time between two calls,
    as a rule, so that the calls of two ranks are those which end at nearly one time.
    """
    if not all(found.has_places for found in ranks):
        return list(ranks)
    ends: dict[tuple[str, str], list[int]] = defaultdict(list)
    for call in ranks[0].calls if ranks else ():
        ends[call.key[:2]].append(call.end_ns)
    return [*ranks[:1], *(_moved(found, ends) for found in ranks[1:])]


def _moved(rank: Figures, ends: Mapping[tuple[str, str], Sequence[int]]) -> Figures:
    """Return a rank whose calls have the numbers of those that end nearest to them."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for call in rank.calls:
        if call.key[:2] in ends:
            places[call.key[:2]].append(_nearest(ends[call.key[:2]], call.end_ns) - call.key[2])
    shifts = {kind: median_low(found) for kind, found in places.items()}
    moved = (
        replace(call, key=(*call.key[:2], call.key[2] + shifts.get(call.key[:2], 0))) for call in rank.calls
    )
    return replace(rank, calls=tuple(moved))


def _nearest(times: Sequence[int], time: int) -> int:
    """Return the place of the time that is the nearest, of some in rising order."""
    after = bisect_left(times, time)
    around = [place for place in (after - 1, after) if 0 <= place < len(times)]
    return min(around, key=lambda place: abs(times[place] - time))


def clocks(ranks: Sequence[Figures]) -> Clocks:
    """Bring the clocks together at the ends of collectives, which all ranks see at nearly one time."""
    zero = {found.rank: 0 for found in ranks}
    if len(ranks) < 2:
        return Clocks(zero, Clock(method="HostClocks", matched=0))
    first, offsets, residuals, matched = ranks[0], zero, [], []
    ends = {call.key: call.end_ns for call in first.calls}
    for found in ranks[1:]:
        differences = [ends[call.key] - call.end_ns for call in found.calls if call.key in ends]
        if len(differences) < LEAST_MATCHES:
            return Clocks({other.rank: 0 for other in ranks}, Clock(method="HostClocks", matched=0))
        offset = median_low(differences)
        offsets[found.rank] = offset
        residuals.append(median(abs(difference - offset) for difference in differences))
        matched.append(len(differences))
    clock = Clock(method="CollectiveEnds", matched=min(matched), residual_ms=round(max(residuals) / 1e6, 3))
    return Clocks(offsets, clock)


def start_skew_ms(ranks: Sequence[Figures], offsets: Mapping[int, int]) -> float | None:
    """Return how far apart the first captured steps began."""
    begins = [found.start_ns + offsets[found.rank] for found in ranks if found.steps]
    return round((max(begins) - min(begins)) / 1e6, 3) if len(begins) > 1 else None


def by_key(ranks: Sequence[Figures]) -> dict[tuple[str, str, int], dict[int, Matched]]:
    """Return the calls that all ranks with calls have made."""
    calls: dict[tuple[str, str, int], dict[int, Matched]] = defaultdict(dict)
    callers = [found for found in ranks if found.calls]
    for found in callers:
        for call in found.calls:
            calls[call.key][found.rank] = call
    return {key: found for key, found in calls.items() if len(found) > 1 or len(callers) == 1}


def collectives(ranks: Sequence[Figures], steps: int) -> list[Collective]:
    """Return the kinds of collectives, those that cost most first.

    The rank whose call is the shortest has come last: it waits for nobody, its call is the transfer.
    """
    kinds: dict[tuple[str, str, int], list[dict[int, Matched]]] = defaultdict(list)
    for (operation, group, _), found in by_key(ranks).items():
        kinds[operation, group, max(call.size for call in found.values())].append(found)
    rows = []
    for (operation, group, size), calls in kinds.items():
        shortest, waits, last = [], [], Counter[int]()
        for call in calls:
            lengths = {rank: found.end_ns - found.start_ns for rank, found in call.items()}
            rank = min(lengths, key=lambda rank: (lengths[rank], rank))
            shortest.append(lengths[rank])
            waits.append(max(lengths.values()) - lengths[rank])
            if len(lengths) > 1:
                last[rank] += 1
        rows.append(
            Collective(
                operation=operation,
                group=group,
                bytes=size,
                per_step=round(len(calls) / steps, 2) if steps else float(len(calls)),
                transfer_ms=round(fmean(shortest) / 1e6, 3),
                wait_ms=round(fmean(waits) / 1e6, 3),
                last_arrival={
                    str(rank): round(count / len(calls), 3) for rank, count in last.most_common(16)
                },
            )
        )
    rows.sort(key=lambda row: (-(row.transfer_ms + row.wait_ms) * row.per_step, row.operation, row.group))
    return rows[:ROWS]


@dataclass(frozen=True)
class Late:
    """The rank that comes last to most collectives, of all that were captured of several ranks."""

    rank: int
    calls: int
    share: float
    """Of the calls: those to which it comes last."""
    wait_ms: float
    """How long the others wait for it in one of them."""
    cost: float
    """That waiting, as a share of all time."""


def latest(ranks: Sequence[Figures]) -> Late | None:
    """Say who comes last, also where no steps were seen: the rank whose calls are the shortest."""
    waits: dict[int, list[int]] = defaultdict(list)
    begin = end = 0
    for call in by_key(ranks).values():
        if len(call) < 2:
            continue
        lengths = {rank: found.end_ns - found.start_ns for rank, found in call.items()}
        rank = min(lengths, key=lambda rank: (lengths[rank], rank))
        waits[rank].append(max(lengths.values()) - lengths[rank])
        first = call[min(call)]
        begin, end = min(begin or first.start_ns, first.start_ns), max(end, first.end_ns)
    if not waits or end <= begin:
        return None
    calls = sum(map(len, waits.values()))
    rank = max(waits, key=lambda rank: (len(waits[rank]), -rank))
    return Late(
        rank,
        calls,
        len(waits[rank]) / calls,
        median(waits[rank]) / 1e6,
        min(1.0, sum(waits[rank]) / (end - begin)),
    )


@dataclass(frozen=True)
class Excess:
    """How much longer a rank works than the typical one."""

    ms: float
    persistence: float
    last_share: float


def excesses(ranks: Sequence[Figures]) -> dict[int, Excess]:
    """Compare the own times of the ranks, step by step.

    The typical rank is the lower median: of two the faster one.
    """
    columns: dict[int, dict[int, float]] = defaultdict(dict)
    lengths = []
    for found in ranks:
        for step in found.steps:
            if step.own is not None:
                columns[step.number][found.rank] = step.own
                lengths.append(step.step)
    over: dict[int, list[float]] = defaultdict(list)
    last = Counter[int]()
    whole = [column for column in columns.values() if len(column) > 1]
    for column in whole:
        typical = median_low(column.values())
        for rank, own in column.items():
            over[rank].append(own - typical)
        last[max(column, key=lambda rank: (column[rank], -rank))] += 1
    floor = max(0.5, 0.03 * median(lengths)) if lengths else 0.5
    return {
        rank: Excess(
            round(median(values), 3),
            round(sum(value > floor for value in values) / len(values), 3),
            round(last[rank] / len(whole), 3),
        )
        for rank, values in over.items()
    }
