"""What progress was seen while the page was open, with few enough points for a curve. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftjob.models.status import Progress

POINTS = 240
METRICS = 6
STEP_TIME = "step time"


@dataclass(frozen=True)
class Point:
    """Progress at one time, in seconds since 1970."""

    time: float
    step: int | None
    step_ms: float | None
    metrics: tuple[tuple[str, float], ...]


Trail = tuple[Point, ...]


@dataclass(frozen=True)
class Line:
    """One line of a plot; None where nothing was told."""

    name: str
    unit: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Drawn:
    """Lines over one time axis."""

    time: tuple[float, ...] = ()
    lines: tuple[Line, ...] = ()


def extended(trail: Trail, progress: Progress | None, now: float) -> Trail:
    """Return a trail with what is known now; the same one if nothing has changed.

    Where it gets too long, every other point goes.
    """
    if progress is None:
        return trail
    step_ms = None if progress.step_seconds is None else progress.step_seconds * 1000
    # Loss first: of many metrics the first few are drawn.
    names = sorted(progress.metrics, key=lambda name: ("loss" not in name.lower(), name))[:METRICS]
    point = Point(now, progress.step, step_ms, tuple((name, progress.metrics[name]) for name in names))
    if trail and (trail[-1].step, trail[-1].metrics) == (point.step, point.metrics):
        return trail
    kept = trail[::2] if len(trail) >= POINTS else trail
    return (*kept, point)


def drawn(trail: Trail) -> Drawn:
    """Return the lines of a trail: the step time, and each metric."""
    names = list(dict.fromkeys(name for point in trail for name, _ in point.metrics))
    lines = [
        Line(STEP_TIME, "ms", tuple(_finite(point.step_ms) for point in trail)),
        *(Line(name, "", tuple(_finite(dict(point.metrics).get(name)) for point in trail)) for name in names),
    ]
    known = tuple(line for line in lines if any(value is not None for value in line.values))
    return Drawn(tuple(round(point.time, 1) for point in trail), known)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
