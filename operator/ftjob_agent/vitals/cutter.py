"""Cuts what a rank's clock tells into blocks, each with what the rank used meanwhile."""

from __future__ import annotations

import bisect
import collections
import os
from typing import TYPE_CHECKING, Callable, Optional, Sequence

from ftjob_protocol import files
from ftjob_protocol.vitals import clock, where
from ftjob_protocol.vitals.block import LINES_MAX, RankBlock, medians, told

if TYPE_CHECKING:
    from ftjob_agent.vitals.signals import Used
    from ftjob_protocol.vitals.block import Lengths
    from ftjob_protocol.vitals.clock import Clock, StepRecord

WAITING = 2 * clock.CAPACITY
"""Steps that wait for the leader to say how long a block is, or for the end of theirs."""
LOOKS = 900
"""Looks at what a rank uses that are kept: a block takes less than so many seconds."""
SAMPLES = 40
"""Fewer, in two seconds, say nothing of shares."""
STALE_NS = 5_000_000_000
"""What a rank used is known at a time if somebody looked so long before or after at most."""


class Cut:
    """A block, and all of its steps."""

    def __init__(self, block: RankBlock, steps: Sequence[StepRecord]) -> None:
        self.block, self.steps = block, steps


class Cutter:
    """One life of one rank, in a job of so many."""

    def __init__(self, rank: int, rank_dir: str, ranks: int = 1) -> None:
        self._rank, self._ranks = rank, ranks
        self._clock = os.path.join(rank_dir, files.CLOCK)
        self._where = os.path.join(rank_dir, files.WHERE)
        self._steps: list[StepRecord] = []
        self._used: collections.deque[Used] = collections.deque(maxlen=LOOKS)
        self._head, self._began = 0, 0
        self._last: Optional[StepRecord] = None
        """The one before the first that waits."""
        self._is_first = True
        self._is_torn = False

    def look(self, used: Optional[Used]) -> None:
        """Read what is new."""
        if used is not None:
            self._used.append(used)
        found = clock.read(self._clock, self._head)
        if found is not None and found.began_ns != self._began:
            found = clock.read(self._clock)  # what we know of its head is another process's
        if found is not None:
            self._take(found)

    def cut(self, lengths: Lengths) -> list[Cut]:
        """Return the blocks that are whole by now."""
        cuts = []
        while self._steps:
            length = lengths.at(self._steps[0].step)
            end = (self._steps[0].step - 1) // length * length + length
            count = bisect.bisect_right([step.step for step in self._steps], end)
            if count == len(self._steps) and self._steps[-1].step < end:
                break
            steps, self._steps = self._steps[:count], self._steps[count:]
            if not self._is_torn:
                cuts.append(self._cut(steps, end - length + 1, length))
            self._last, self._is_first, self._is_torn = steps[-1], False, False
        return cuts

    def _take(self, found: Clock) -> None:
        if found.began_ns != self._began:
            self._begin_anew()
            self._began = found.began_ns
        elif len(found.records) < found.head - self._head:
            self._steps, self._is_torn = [], True  # the ring was faster than we
        self._head = found.head
        for record in found.records:
            before = self._steps[-1] if self._steps else self._last
            if before is not None and record.step <= before.step:
                self._begin_anew()  # a program that counts anew
            self._steps.append(record)
        if len(self._steps) > WAITING:
            self._steps, self._is_torn = self._steps[-clock.CAPACITY :], True

    def _begin_anew(self) -> None:
        self._steps, self._last = [], None
        self._is_first, self._is_torn = True, False

    def _cut(self, steps: Sequence[StepRecord], first: int, length: int) -> Cut:
        start_ns = self._last.end_ns if self._last is not None else steps[0].end_ns - steps[0].step_us * 1000
        end_ns = max(start_ns, steps[-1].end_ns)
        before = self._last.step if self._last is not None else steps[0].step - 1
        made = max(1, steps[-1].step - before)

        def spent(of: Callable[[Used], Optional[float]]) -> Optional[float]:
            began, ended = self._at(start_ns, of), self._at(end_ns, of)
            return None if began is None or ended is None or ended < began else (ended - began) * 1e3 / made

        delay = spent(lambda used: used.run_delay_seconds)
        throttled = spent(lambda used: used.throttled_seconds)
        if delay is not None and throttled is not None:
            throttled = min(throttled, delay)  # what the limit takes the main thread waits for
        last, seen = self._used[-1] if self._used else None, where.read(self._where)
        block = RankBlock(
            self._rank,
            first,
            length,
            told(steps, self._ranks),
            medians(steps),
            start_ns / 1e9,
            end_ns / 1e9,
            cpu_ms=spent(lambda used: used.cpu_seconds),
            graph_ms=spent(lambda used: used.graph_seconds),
            run_delay_ms=delay,
            throttled_ms=throttled,
            rss_bytes=last.rss_bytes if last is not None else None,
            gpu_bytes=last.gpu_bytes if last is not None else None,
            where=seen.lines[:LINES_MAX] if seen is not None and seen.samples >= SAMPLES else (),
            is_first=self._is_first,
        )
        return Cut(block, steps)

    def _at(self, time_ns: int, of: Callable[[Used], Optional[float]]) -> Optional[float]:
        """Return what was used up to a time, between two looks in proportion."""
        times = [used.time_ns for used in self._used]
        place = bisect.bisect_left(times, time_ns)
        after = self._used[min(place, len(times) - 1)] if times else None
        before = self._used[max(place - 1, 0)] if times else None
        if before is None or after is None:
            return None
        if abs(before.time_ns - time_ns) > STALE_NS or abs(after.time_ns - time_ns) > STALE_NS:
            return None
        low, high = of(before), of(after)
        if low is None or high is None:
            return None
        span = after.time_ns - before.time_ns
        share = min(1.0, max(0.0, (time_ns - before.time_ns) / span)) if span > 0 else 0.0
        return low + share * (high - low)
