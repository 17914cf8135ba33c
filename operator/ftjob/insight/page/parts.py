"""What the report shows, made ready for its template: numbers as texts, lengths of bars."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob.insight.summary import Curves, Finding, Rank, Summary

ROWS = 64
"""Ranks with a bar of their own."""
WIDTH = 1000.0
PARTS = (
    ("input", "waiting for data"),
    ("own", "its own work"),
    ("waiting", "waiting for other ranks"),
    ("transfer", "exchanging data"),
    ("pause", "pauses"),
    ("other", "not divided"),
)
_PHASES = {
    "stepping": "own",
    "input": "input",
    "blocked": "waiting",
    "queued": "other",
    "starting": "transfer",
    "pauses": "pause",
    "lost": "lost",
    "idle": "pause",
}
_NAMES = {
    "stepping": "own work",
    "input": "waiting for data",
    "blocked": "waiting for other ranks, and exchanging",
    "lost": "lost by restarts",
}


@dataclass(frozen=True)
class Piece:
    """A part of a bar."""

    kind: str
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    """A rank's typical step."""

    index: int
    name: str
    label: str
    step: str
    pieces: tuple[Piece, ...]
    is_accused: bool


@dataclass(frozen=True)
class Figure:
    """One of the four large numbers."""

    name: str
    value: str
    unit: str
    note: str
    ref: str = ""
    """Where the summary has it; empty: it is reckoned from several."""


@dataclass(frozen=True)
class Arrival:
    """How often a rank comes last."""

    name: str
    ref: str
    value: str
    width: float


@dataclass(frozen=True)
class Unit:
    """One plot: all lines of one unit."""

    label: str
    text: str


@dataclass(frozen=True)
class PhaseBar:
    """A part of the job's wall time."""

    name: str
    kind: str
    text: str
    x: float
    width: float


def about(summary: Summary) -> str:
    """Return one line about what was looked at."""
    job, count = summary.job, len(summary.ranks)
    words = [
        job.strategy,
        job.framework,
        f"{count} rank{'s' if count != 1 else ''}",
        f"attempt {job.attempt}",
    ]
    if summary.window.steps:
        first, last = summary.window.steps[0], summary.window.steps[-1]
        words.append(f"steps {first} to {last}")
    return " · ".join(word for word in words if word)


def divided(rank: Rank) -> list[tuple[str, float]]:
    """Return the parts of a rank's step, in the order of `PARTS`."""
    step = rank.step_ms or 0.0
    if rank.own_ms is None:
        inputs = min(rank.input_ms or 0.0, step)
        found = [("input", inputs), ("other", step - inputs)]
    else:
        inputs = min(rank.input_ms or 0.0, rank.own_ms)
        blocked = rank.blocked_ms or 0.0
        transfer = min(rank.transfer_ms or 0.0, blocked)
        found = [
            ("input", inputs),
            ("own", rank.own_ms - inputs),
            ("waiting", blocked - transfer),
            ("transfer", transfer),
        ]
    if rank.pause_ms:
        found.append(("pause", rank.pause_ms))
    return [(kind, value) for kind, value in found if value > 0]


def bars(summary: Summary) -> tuple[list[Bar], int]:
    """Return the bars, and how many ranks have none."""
    accused = {rank for finding in summary.findings for rank in finding.ranks}
    rows = [(i, rank) for i, rank in enumerate(summary.ranks) if rank.step_ms is not None]
    if len(rows) > ROWS:
        worst = sorted(rows, key=lambda row: -(row[1].own_ms or 0.0))[: ROWS - 1]
        kept = {i for i, _ in worst} | {rows[0][0]}
        shown = [row for row in rows if row[0] in kept]
    else:
        shown = rows
    longest = max((sum(value for _, value in divided(rank)) for _, rank in shown), default=0.0)
    return [_bar(i, rank, longest, rank.rank in accused) for i, rank in shown], len(rows) - len(shown)


def _bar(index: int, rank: Rank, longest: float, is_accused: bool) -> Bar:
    pieces, at = [], 0.0
    labels = dict(PARTS)
    said = []
    for kind, value in divided(rank):
        width = value / longest * WIDTH if longest else 0.0
        pieces.append(Piece(kind, round(at, 1), round(width, 1)))
        at += width
        said.append(f"{labels[kind]} {value:.1f} ms")
    name = f"rank {rank.rank}{f' ({rank.node})' if rank.node else ''}"
    label = f"{name}: {', '.join(said)}"
    return Bar(index, name, label, f"{rank.step_ms or 0:.1f}", tuple(pieces), is_accused)


def figures(summary: Summary) -> list[Figure]:
    """Return the four numbers of a typical step."""
    if summary.step_ms is None:
        return []
    step = summary.step_ms.p50
    ranks = summary.ranks
    transfer = [rank.transfer_ms for rank in ranks if rank.transfer_ms is not None]
    blocked = [rank.blocked_ms for rank in ranks if rank.blocked_ms is not None]
    moved = median(transfer) if transfer else None
    waits = median(blocked) - (moved or 0.0) if blocked else None
    inputs = [rank.input_ms for rank in ranks if rank.input_ms is not None]
    return [
        Figure("Step", f"{step:.1f}", "ms", f"95 % within {summary.step_ms.p95:.1f} ms", "stepMs/p50"),
        _share("Input", median(inputs) if inputs else None, step),
        _share("Communication", moved, step),
        _share("Waiting for ranks", waits, step),
    ]


def _share(name: str, value: float | None, step: float) -> Figure:
    if value is None or not step:
        return Figure(name, "\N{EN DASH}", "", "not measured")
    return Figure(
        name, f"{max(0.0, value) / step * 100:.0f}", "%", f"{max(0.0, value):.1f} ms on a typical rank"
    )


def arrivals(summary: Summary) -> list[Arrival]:
    """Return the ranks that come last most often."""
    rows = [(i, rank, rank.last_share) for i, rank in enumerate(summary.ranks) if rank.last_share]
    rows.sort(key=lambda row: (-(row[2] or 0), row[1].rank))
    return [
        Arrival(
            f"rank {rank.rank}",
            f"ranks/{i}/lastShare",
            f"{(share or 0) * 100:.0f}",
            round((share or 0) * WIDTH, 1),
        )
        for i, rank, share in rows[:12]
    ]


def units(summary: Summary) -> list[Unit]:
    """Return the plots, and what they show in words."""
    if summary.curves is None:
        return []
    found: dict[str, list[str]] = {}
    for line in summary.curves.lines:
        values = [value for value in line.values if value is not None]
        if values:
            span = f"{min(values):.3g} to {max(values):.3g}, last {values[-1]:.3g}"
            found.setdefault(line.unit, []).append(f"{line.name} {span} {line.unit}")
        else:
            found.setdefault(line.unit, []).append(f"{line.name} was not measured")
    if "GiB" in found and (limit := summary.curves.limit_bytes):
        found["GiB"].append(_limit(summary.curves, limit))
    names = {"ms": "Milliseconds a step", "GiB": "Memory", "%": "Shares"}
    return [Unit(names.get(unit, unit), "; ".join(texts)) for unit, texts in found.items()]


def _limit(curves: Curves, limit: int) -> str:
    text = f"a rank may use {limit / (1 << 30):.3g} GiB"
    if curves.limit_time is None:
        return text
    later = seconds(max(0.0, curves.limit_time - curves.time[-1]))
    return f"{text}, reached {later} later if it goes on growing"


def beside(summary: Summary, first: Finding | None) -> list[int]:
    """Return whose lines and operators are shown: the rank to blame, and a typical one."""
    if not summary.ranks:
        return []
    order = sorted(range(len(summary.ranks)), key=lambda i: summary.ranks[i].own_ms or 0.0)
    typical = order[(len(order) - 1) // 2]
    accused = set(first.ranks) if first is not None else set()
    culprits = [i for i in reversed(order) if summary.ranks[i].rank in accused]
    if culprits and culprits[0] == typical:
        typical = next((i for i in order if summary.ranks[i].rank not in accused), typical)
    return list(dict.fromkeys([*culprits[:1], typical]))


def phases(summary: Summary) -> list[PhaseBar]:
    """Return the parts of the wall time."""
    total = sum(phase.seconds for phase in summary.timeline)
    found, at = [], 0.0
    for phase in summary.timeline:
        if total <= 0 or phase.seconds <= 0:
            continue
        width = phase.seconds / total * WIDTH
        text = f"{seconds(phase.seconds)} ({phase.seconds / total * 100:.0f} %)"
        kind = _PHASES.get(phase.name, "other")
        found.append(PhaseBar(_NAMES.get(phase.name, phase.name), kind, text, round(at, 1), round(width, 1)))
        at += width
    return found


def coverage(summary: Summary) -> list[str]:
    """Return what was read, and what was left out."""
    lines = []
    capture = summary.capture
    if capture is not None:
        ranks = capture.ranks
        lines.append(f"{len(ranks.read)} of {ranks.expected} ranks were read")
        if ranks.missing:
            lines.append(f"no capture of {_some(ranks.missing)}")
        lines += [f"rank {broken.rank} could not be read: {broken.why}" for broken in ranks.broken[:20]]
        clock = capture.clock
        if clock.method == "CollectiveEnds":
            lines.append(
                f"clocks were brought together at the ends of {clock.matched} collectives; they agree within "
                f"{clock.residual_ms or 0:.2f} ms"
            )
        elif len(ranks.read) > 1:
            lines.append(
                "the ranks' clocks are those of their hosts: there were too few collectives to compare"
            )
        if capture.start_skew_ms is not None:
            lines.append(f"the captured ranks began within {capture.start_skew_ms:.1f} ms")
        if capture.slowdown is not None:
            lines.append(f"steps took {capture.slowdown:.2f} times as long as outside of the capture")
    if summary.window.blocks:
        lines.append(f"{summary.window.blocks} blocks of steps were looked at")
    left = ", ".join(f"{count} {name}" for name, count in summary.window.excluded.items() if count)
    if left:
        lines.append(f"steps left out: {left}")
    unseen = [name for name, is_seen in summary.verdict.seen.items() if not is_seen]
    if unseen:
        lines.append(f"not seen: {', '.join(unseen)}")
    return lines


def _some(ranks: Sequence[int]) -> str:
    named = ", ".join(map(str, ranks[:20]))
    more = f" and {len(ranks) - 20} more" if len(ranks) > 20 else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {named}{more}"


def readable_bytes(count: int) -> str:
    """Return a size as people say it."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def seconds(value: float) -> str:
    """Return a time span."""
    if value < 60:
        return f"{value:.3g} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
