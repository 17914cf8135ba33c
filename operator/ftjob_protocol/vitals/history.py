"""``vitals/rank-00003.jsonl`` in the outputs: a line for each block, or for several once there are many."""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional, Sequence

from ftjob_protocol.vitals.block import PAUSE, RankBlock
from ftjob_protocol.vitals.clock import BLOCKED_UNKNOWN, INPUT_UNKNOWN, StepRecord

LINES = 3
PAUSES = 4
"""Pauses that are told with their step; the longest ones."""


def line(
    attempt: int,
    node: str,
    block: RankBlock,
    steps: Sequence[StepRecord],
    memory_limit: Optional[int] = None,
) -> bytes:
    """Return the line of a block.

    Parameters
    ----------
    steps
        All of its steps, one at least.
    memory_limit
        The rank's share of what its container may use, in bytes: told with the first block.
    """
    with_input = [step for step in steps if not step.flags & INPUT_UNKNOWN]
    with_blocked = [step for step in steps if not step.flags & BLOCKED_UNKNOWN]
    times = sorted(step.step_us for step in steps)
    pauses = [step for step in steps if step.step_us > PAUSE * times[len(times) // 2]]
    longest = sorted(pauses, key=lambda step: -step.step_us)[:PAUSES]
    document = {
        "attempt": attempt,
        "node": node or None,
        **block.frame_as_json(),
        "stepMs": _spread(steps, lambda step: step.step_us),
        "inputMs": _spread(with_input, lambda step: step.input_us),
        "ownMs": _spread(with_blocked, lambda step: step.own_us),
        "blockedMs": _spread(with_blocked, lambda step: step.blocked_us),
        "collectives": block.typical.collectives,
        "pauses": [[step.step, step.step_us / 1e3] for step in sorted(longest)] or None,
        **block.used_as_json(LINES),
        "memoryLimitBytes": memory_limit if block.is_first else None,
    }
    known = {key: value for key, value in document.items() if value is not None}
    return json.dumps(known, separators=(",", ":")).encode() + b"\n"


def last_steps(attempt: int, rank: int, steps: Sequence[StepRecord]) -> str:
    """Return what the last steps of a rank took that has failed: the newest is the last one."""
    told = [
        {
            "step": step.step,
            "endNs": step.end_ns,
            "stepMs": step.step_ms,
            "inputMs": step.input_ms,
            "ownMs": step.own_ms,
            "blockedMs": step.blocked_ms,
            "collectives": step.collectives,
            "flags": step.flags,
        }
        for step in steps
    ]
    return json.dumps({"attempt": attempt, "rank": rank, "steps": told}) + "\n"


def read_line(text: bytes) -> Optional[Mapping[str, Any]]:
    """Return what a line says; None if it is cut off, or not a line of a block."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_block = isinstance(said, dict) and all(isinstance(said.get(key), int) for key in ("rank", "first"))
    return said if is_block else None


def _spread(steps: Sequence[StepRecord], of: Callable[[StepRecord], int]) -> Optional[list[float]]:
    """Return median, 95th percentile and maximum, in milliseconds."""
    if not steps:
        return None
    found = sorted(map(of, steps))
    return [found[len(found) // 2] / 1e3, found[len(found) * 19 // 20] / 1e3, found[-1] / 1e3]
