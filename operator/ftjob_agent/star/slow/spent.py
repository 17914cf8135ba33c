"""What the time of all steps went into, summed over ranks and blocks: for the job's timeline."""

from __future__ import annotations

from typing import Iterable, Mapping

from ftjob_protocol.values.progress import SHARES
from ftjob_protocol.vitals.block import PAUSE, RankBlock
from ftjob_protocol.vitals.clock import BLOCKED_UNKNOWN, INPUT_UNKNOWN


class Spent:
    """Sums, of the ranks that run together."""

    def __init__(self) -> None:
        self._whole = 0.0
        self._seconds = dict.fromkeys(SHARES, 0.0)

    def add(self, blocks: Iterable[RankBlock]) -> None:
        """Add blocks that agents have told of."""
        for block in blocks:
            seconds, typical = max(0.0, block.end_s - block.start_s), block.typical
            if not typical.step_us:
                continue
            long = (
                step.step_us - typical.step_us
                for step in block.steps
                if _is_pause(step.step_us, typical.step_us)
            )
            pauses = min(seconds, sum(long) / 1e6)
            self._whole += seconds
            self._seconds["pauses"] += pauses
            if not typical.flags & INPUT_UNKNOWN:
                self._seconds["input"] += (seconds - pauses) * min(1.0, typical.input_us / typical.step_us)
            if not typical.flags & BLOCKED_UNKNOWN:
                self._seconds["blocked"] += (seconds - pauses) * min(
                    1.0, typical.blocked_us / typical.step_us
                )

    def shares(self) -> Mapping[str, float]:
        """Return them as shares of the whole, as far as there are any."""
        if self._whole <= 0:
            return {}
        return {name: round(seconds / self._whole, 4) for name, seconds in self._seconds.items() if seconds}


def _is_pause(step_us: int, typical_us: int) -> bool:
    return step_us > PAUSE * typical_us
