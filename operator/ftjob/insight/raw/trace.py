"""One rank's trace, whichever profiler wrote it: intervals in microseconds, and few names."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from operator import neg
from typing import TYPE_CHECKING, NamedTuple

from ftjob.insight.intervals import union

if TYPE_CHECKING:
    from ftjob.insight.intervals import Intervals

OPERATORS = 30
COLLECTIVES = 4000
"""Calls of a rank that are matched with those of others."""


class BrokenTraceError(Exception):
    """The files of a rank can't be read; the message says why, in words for the report."""


class Step(NamedTuple):
    """One step of the script, by its number."""

    number: int
    start: float
    end: float


class Call(NamedTuple):
    """One call of a collective."""

    operation: str
    group: str
    sequence: int | None
    start: float
    end: float
    size: int


class Operator(NamedTuple):
    """An operator's calls together."""

    name: str
    calls: int
    self_us: float


@dataclass(frozen=True)
class Trace:
    """What is kept of a rank's trace."""

    framework: str
    origin_ns: int
    """Which time of the host's clock 0 stands for."""
    steps: tuple[Step, ...]
    compute: Intervals
    """When it computed: kernels where there is a device, operators elsewhere."""
    inputs: Intervals
    sees_input: bool
    """Whether waiting for data would show."""
    calls: tuple[Call, ...]
    operators: tuple[Operator, ...]
    kernels: int = 0
    kernel_us: float = 0.0
    """The median kernel."""
    dropped: int = 0
    """Events whose times can't be."""


@dataclass
class Slices:
    """Many slices in little memory: their self times, and when any of them was there."""

    names: list[str] = field(default_factory=list)
    _ids: dict[str, int] = field(default_factory=dict)
    _tracks: dict[object, tuple[array[float], array[float], array[int]]] = field(
        default_factory=lambda: defaultdict(lambda: (array("d"), array("d"), array("l")))
    )

    def add(self, track: object, name: str, start: float, end: float) -> None:
        """Take one slice of a thread or stream."""
        number = self._ids.get(name)
        if number is None:
            number = self._ids[name] = len(self.names)
            self.names.append(name)
        starts, ends, ids = self._tracks[track]
        starts.append(start)
        ends.append(end)
        ids.append(number)

    def covered(self) -> Intervals:
        """Return when at least one of them was there."""
        return union(
            [pair for starts, ends, _ in self._tracks.values() for pair in zip(starts, ends, strict=True)]
        )

    def operators(self) -> tuple[Operator, ...]:
        """Return the kinds with the most time of their own, without that of slices inside of them."""
        count, own = [0] * len(self.names), [0.0] * len(self.names)
        for starts, ends, ids in self._tracks.values():
            _add_self_times(starts, ends, ids, count, own)
        order = sorted(range(len(own)), key=lambda i: (-own[i], self.names[i]))[:OPERATORS]
        return tuple(Operator(self.names[i], count[i], own[i]) for i in order)

    def __len__(self) -> int:
        return sum(len(ids) for _, _, ids in self._tracks.values())

    def median(self) -> float:
        """Return the median duration; 0 of none."""
        lengths = sorted(
            e - s for starts, ends, _ in self._tracks.values() for s, e in zip(starts, ends, strict=True)
        )
        return lengths[len(lengths) // 2] if lengths else 0.0


def _add_self_times(
    starts: array[float], ends: array[float], ids: array[int], count: list[int], own: list[float]
) -> None:
    # By start, the longer first: what encloses comes before what is inside.
    slices = sorted(zip(starts, map(neg, ends), ids, strict=True))
    open_ends: list[float] = []
    open_ids: list[int] = []
    for start, minus_end, name in slices:
        end = -minus_end
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
            open_ids.pop()
        count[name] += 1
        own[name] += end - start
        if open_ends:
            own[open_ids[-1]] -= min(end, open_ends[-1]) - start
        open_ends.append(end)
        open_ids.append(name)
