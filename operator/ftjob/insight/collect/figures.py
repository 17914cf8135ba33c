"""What one rank's trace says of its steps: how long it waited for data and for others, and what is left."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from ftjob.insight.intervals import length, minus, union

if TYPE_CHECKING:
    from ftjob.insight.raw.trace import Call, Operator, Trace

LAUNCH_BOUND_US = 20.0
IN_A_STEP = 1_000_000
"""More calls than a step has."""


@dataclass(frozen=True)
class StepFigures:
    """One step, in milliseconds; None: it could not be seen."""

    number: int
    start_ns: int
    step: float
    input: float | None
    own: float | None
    blocked: float | None


@dataclass(frozen=True)
class Matched:
    """A collective's call under a name that it has in all ranks."""

    key: tuple[str, str, int]
    """Operation and group, and its number among those: the backend's, that in its step, or its place."""
    start_ns: int
    end_ns: int
    size: int


@dataclass(frozen=True)
class Figures:
    """All that is kept of a rank once its trace is dropped."""

    rank: int
    framework: str
    start_ns: int
    steps: tuple[StepFigures, ...]
    calls: tuple[Matched, ...]
    calls_per_step: float
    operators: tuple[Operator, ...]
    idle_share: float | None
    """Of a device, between the first step and the last."""
    kernel_us: float
    dropped: int
    has_places: bool = False
    """Whether the numbers of its calls are no more than their places in its trace."""

    def median(self, name: str) -> float | None:
        """Return the median of a column over the steps that have it."""
        values = [value for step in self.steps if (value := getattr(step, name)) is not None]
        return median(values) if values else None


def figures(trace: Trace, rank: int, *, is_alone: bool) -> Figures:
    """Read a trace's intervals step by step.

    Parameters
    ----------
    is_alone
        There is no other rank to wait for.
    """
    calls = union((call.start, call.end) for call in trace.calls)
    exposed = minus(calls, trace.compute)
    steps = []
    for number, start, end in trace.steps:
        whole = end - start
        blocked: float | None
        if trace.calls or is_alone:
            blocked = length(exposed, start, end)
        elif trace.compute:
            # Collectives that leave no event, as Horovod's: what is not computing is waiting.
            blocked = whole - length(trace.compute, start, end)
        else:
            blocked = None
        steps.append(
            StepFigures(
                number,
                trace.origin_ns + round(start * 1e3),
                whole / 1e3,
                length(trace.inputs, start, end) / 1e3 if trace.sees_input else None,
                None if blocked is None else (whole - blocked) / 1e3,
                None if blocked is None else blocked / 1e3,
            )
        )
    inside = [call for call in trace.calls if _is_inside(call, trace)]
    return Figures(
        rank=rank,
        framework=trace.framework,
        start_ns=steps[0].start_ns if steps else trace.origin_ns,
        steps=tuple(steps),
        calls=_matched(inside, trace),
        calls_per_step=len(inside) / len(steps) if steps else 0.0,
        operators=trace.operators,
        idle_share=_idle(trace),
        kernel_us=trace.kernel_us,
        dropped=trace.dropped,
        has_places=not trace.steps and all(call.sequence is None for call in inside),
    )


def _is_inside(call: Call, trace: Trace) -> bool:
    return not trace.steps or trace.steps[0].start <= call.start <= trace.steps[-1].end


def _matched(calls: list[Call], trace: Trace) -> tuple[Matched, ...]:
    """Give the calls of each group numbers: those of the backend, else by step and order, else by order."""
    count: dict[tuple[str, str, int], int] = defaultdict(int)
    begins = [step.start for step in trace.steps]
    found = []
    for call in calls:
        # A trace need not begin with the same step as the others.
        step = trace.steps[bisect_right(begins, call.start) - 1].number if begins else 0
        kind = (call.operation, call.group, step)
        number = step * IN_A_STEP + count[kind] if call.sequence is None else call.sequence
        count[kind] += 1
        start, end = (trace.origin_ns + round(time * 1e3) for time in (call.start, call.end))
        found.append(Matched((call.operation, call.group, number), start, end, call.size))
    return tuple(found)


def _idle(trace: Trace) -> float | None:
    if not trace.kernels or not trace.steps:
        return None
    start, end = trace.steps[0].start, trace.steps[-1].end
    busy = union([*trace.compute, *((call.start, call.end) for call in trace.calls)])
    return max(0.0, 1 - length(busy, start, end) / (end - start)) if end > start else None
