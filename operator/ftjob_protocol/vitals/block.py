"""A block: what some steps of one rank took, as its agent tells the leader.

A rank of a block has less than 2 kB: 16 bytes for each of its last 64 steps and of those before that took far
longer than most, and what the rank used meanwhile. What an agent says is the word of a stranger: it is read
strictly.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Sequence

from ftjob_protocol.failures import RANKS_MAX
from ftjob_protocol.values.fields import Fields, finite
from ftjob_protocol.values.text import clean
from ftjob_protocol.vitals.clock import BLOCKED_UNKNOWN, INPUT_UNKNOWN, INSIDE, MOST, StepRecord
from ftjob_protocol.vitals.where import LINE_BYTES, Doing, Line

LENGTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Steps of a block. One of 16 has the steps 1 to 16, 17 to 32 and so on: the blocks of all ranks meet."""
LONGEST = 256
"""Steps of a block in a job that is not large."""
LARGE = 256
"""Ranks of a job from which on longer blocks tell of fewer steps, so that the leader has less to read."""
STEPS_TOLD = 64
"""Of a block the last ones, and before them those that took far longer than most: pauses."""
STEPS_TOLD_LARGE = 32
PAUSES_TOLD = 32
PAUSE = 3
"""A step is told as a pause if it took so many times as long as the median one."""
BLOCKS_TOLD = 4
"""Of each rank, in one message: those that the leader has not been told of yet."""
LINES_MAX = 8
NODE_BYTES = 253
"""Of a DNS subdomain, which names of nodes are."""
SECONDS_MAX = 1e12
MILLISECONDS_MAX = 1e9

_STEP = struct.Struct("<HBBIII")
"""Place in the block, flags, collectives, and microseconds: of the step, of its input, of its own work."""


@dataclass(frozen=True)
class RankBlock:
    """What some steps of one rank took."""

    rank: int
    first: int
    """Its first step; it has `length` of them."""
    length: int
    steps: Sequence[StepRecord]
    """Those that are told, in rising order; when they ended is not."""
    typical: StepRecord
    """The medians of all of them."""
    start_s: float
    """When it began, in seconds since 1970."""
    end_s: float
    cpu_ms: Optional[float] = None
    """CPU time of a step, of all processes of the rank; None: not known, as all below."""
    graph_ms: Optional[float] = None
    """CPU time of a step, of the threads that run graphs of TensorFlow alone."""
    run_delay_ms: Optional[float] = None
    """How long the main thread waited for a core in a step."""
    throttled_ms: Optional[float] = None
    """How long the container was throttled in a step."""
    rss_bytes: Optional[int] = None
    gpu_bytes: Optional[int] = None
    where: Sequence[Line] = ()
    is_first: bool = False
    """Whether the rank's training begins in it."""

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told, without what is unknown."""
        steps = b"".join(_packed(self.first, step) for step in self.steps)
        return {
            **self.frame_as_json(),
            "steps": base64.b64encode(steps).decode(),
            "typical": base64.b64encode(_packed(self.first, self.typical)).decode(),
            **self.used_as_json(),
        }

    def frame_as_json(self) -> dict[str, Any]:
        """Return which steps of which rank they are, and when they were made."""
        return {
            "rank": self.rank,
            "first": self.first,
            "length": self.length,
            "startS": round(self.start_s, 3),
            "endS": round(self.end_s, 3),
        }

    def used_as_json(self, lines: int = LINES_MAX) -> dict[str, Any]:
        """Return what the rank used meanwhile, as far as it is known, and at how many lines it was seen."""
        seen = [[clean(line.text, LINE_BYTES), line.doing, line.share] for line in self.where[:lines]]
        known = {
            "cpuMs": _rounded(self.cpu_ms),
            "graphMs": _rounded(self.graph_ms),
            "runDelayMs": _rounded(self.run_delay_ms),
            "throttledMs": _rounded(self.throttled_ms),
            "rssBytes": self.rss_bytes,
            "gpuBytes": self.gpu_bytes,
            "where": seen or None,
            "isFirst": self.is_first or None,
        }
        return {key: value for key, value in known.items() if value is not None}

    @classmethod
    def read(cls, data: Any) -> RankBlock:
        """Read that form.

        Raises
        ------
        ValueError
            Something in it is not what it has to be; the text names it.
        """
        fields = Fields(data, "block")
        rank, first = fields.whole("rank", most=RANKS_MAX), fields.whole("first", most=2**32 - 1)
        length = fields.whole("length", most=LENGTHS[-1])
        if rank is None or not first or length not in LENGTHS or (first - 1) % length:
            raise ValueError("block.rank, block.first or block.length is not that of a block")
        start, end = (fields.number(key, most=SECONDS_MAX) for key in ("startS", "endS"))
        if start is None or end is None or end < start:
            raise ValueError("block.startS or block.endS is no time, or it ends before it begins")
        typical = _unpacked(first, length, data.get("typical"), most=1)
        if not typical:
            raise ValueError("block.typical is missing")
        return cls(
            rank,
            first,
            length,
            _unpacked(first, length, data.get("steps"), most=STEPS_TOLD + PAUSES_TOLD),
            typical[0],
            start,
            end,
            cpu_ms=fields.number("cpuMs", most=MILLISECONDS_MAX),
            graph_ms=fields.number("graphMs", most=MILLISECONDS_MAX),
            run_delay_ms=fields.number("runDelayMs", most=MILLISECONDS_MAX),
            throttled_ms=fields.number("throttledMs", most=MILLISECONDS_MAX),
            rss_bytes=fields.whole("rssBytes"),
            gpu_bytes=fields.whole("gpuBytes"),
            where=_lines(data.get("where")),
            is_first=data.get("isFirst") is True,
        )


@dataclass(frozen=True)
class Report:
    """What an agent tells of its ranks' steps."""

    node: str = ""
    memory_limit_bytes: Optional[int] = None
    """Of its container."""
    blocks: Sequence[RankBlock] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told."""
        return {
            "node": clean(self.node, NODE_BYTES),
            "memoryLimitBytes": self.memory_limit_bytes,
            "blocks": [block.as_json() for block in self.blocks],
        }

    @classmethod
    def read(cls, data: Any, *, most: int) -> Report:
        """Read that form; ValueError if it is another one, or has more than `most` blocks."""
        fields = Fields(data, "vitals")
        blocks = data.get("blocks")
        if not isinstance(blocks, list) or len(blocks) > most:
            raise ValueError(f"vitals.blocks is not a list of at most {most}")
        return cls(
            fields.text("node", NODE_BYTES),
            fields.whole("memoryLimitBytes"),
            tuple(RankBlock.read(block) for block in blocks),
        )


@dataclass(frozen=True)
class Lengths:
    """How many steps blocks have. Another length begins with the same step for all ranks: theirs meet."""

    length: int = 0
    """From step `since` on; 0: it is not known yet."""
    before: int = 0
    """Of blocks with earlier steps; 0: none were known."""
    since: int = 0

    def at(self, step: int) -> int:
        """Return the length of the block with this step."""
        return self.length if step >= self.since or not self.before else self.before

    def then(self, length: int, step: int, known: int) -> Lengths:
        """Return what follows: blocks of another length, as soon as all agents know of it.

        Parameters
        ----------
        step
            That the ranks have reached.
        known
            A later one, which no rank reaches before its agent has been told.
        """
        present = self.at(step)
        if not present or length == present:
            return Lengths(length)
        most = max(present, length)  # each divides the longer ones
        return Lengths(length, present, -(-known // most) * most + 1)

    def as_json(self) -> dict[str, int]:
        """Return the fields of an answer."""
        earlier = {"blockBefore": self.before, "blockSince": self.since} if self.before else {}
        return {"blockSteps": self.length, **earlier}

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Lengths:
        """Read an answer of the leader."""
        return cls(*(int(answer.get(key) or 0) for key in ("blockSteps", "blockBefore", "blockSince")))


def lengths(ranks: int) -> Sequence[int]:
    """Return how many steps a block may have in a job of so many ranks."""
    return LENGTHS if ranks >= LARGE else tuple(length for length in LENGTHS if length <= LONGEST)


def told(steps: Sequence[StepRecord], ranks: int = 1) -> tuple[StepRecord, ...]:
    """Return which of a block's steps are told in a job of so many ranks."""
    last = STEPS_TOLD_LARGE if ranks >= LARGE else STEPS_TOLD
    earlier = steps[:-last]
    median = typical(steps, lambda step: step.step_us) or 0
    pauses = [step for step in earlier if step.step_us > PAUSE * median]
    longest = sorted(pauses, key=lambda step: -step.step_us)[:PAUSES_TOLD]
    return (*sorted(longest, key=lambda step: step.step), *steps[-last:])


def medians(steps: Sequence[StepRecord]) -> StepRecord:
    """Return the medians of some steps, one at least."""
    with_input = [step for step in steps if not step.flags & INPUT_UNKNOWN]
    with_blocked = [step for step in steps if not step.flags & BLOCKED_UNKNOWN]
    return StepRecord(
        0,
        steps[0].step,
        typical(steps, lambda step: step.step_us) or 0,
        typical(with_input, lambda step: step.input_us) or 0,
        typical(with_blocked, lambda step: step.own_us) or 0,
        typical(with_blocked, lambda step: step.blocked_us) or 0,
        typical(steps, lambda step: step.collectives) or 0,
        (0 if with_input else INPUT_UNKNOWN)
        | (0 if with_blocked else BLOCKED_UNKNOWN)
        | (INSIDE if all(step.flags & INSIDE for step in steps) else 0),
    )


def typical(steps: Sequence[StepRecord], of: Callable[[StepRecord], int]) -> Optional[int]:
    """Return the median of one of their numbers; None if there are no steps."""
    return sorted(map(of, steps))[len(steps) // 2] if steps else None


def _lines(data: Any) -> tuple[Line, ...]:
    if data is None:
        return ()
    if not isinstance(data, list):
        raise ValueError("block.where is not a list")  # noqa: TRY004  one error for all that is wrong
    found = []
    for item in data[:LINES_MAX]:
        if not isinstance(item, list) or len(item) != 3:
            raise ValueError("block.where has what is no line, its kind and its share")
        fields = Fields({"line": item[0], "kind": item[1]}, "block.where")
        share = finite(item[2])
        if share is None or not 0 <= share <= 1:
            raise ValueError("a share in block.where is not from 0 to 1")
        found.append(Line(fields.text("line", LINE_BYTES), fields.one_of("kind", Doing), share))
    return tuple(found)


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, 3)


def _packed(first: int, step: StepRecord) -> bytes:
    times = (min(value, step.step_us, MOST) for value in (step.step_us, step.input_us, step.own_us))
    return _STEP.pack(step.step - first, step.flags & 0xFF, min(step.collectives, 255), *times)


def _unpacked(first: int, length: int, text: Any, *, most: int) -> tuple[StepRecord, ...]:
    if not isinstance(text, str) or len(text) > (most + 1) * _STEP.size * 4 // 3:
        raise ValueError("block.steps or block.typical is not a text, or is too long")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("block.steps or block.typical is not base64") from None
    if len(data) % _STEP.size or len(data) // _STEP.size > most:
        raise ValueError("block.steps or block.typical is not whole, or has too many")
    found: list[StepRecord] = []
    for place, flags, collectives, step_us, input_us, own_us in _STEP.iter_unpack(data):
        step = StepRecord(
            0, first + place, step_us, input_us, own_us, max(0, step_us - own_us), collectives, flags
        )
        if place >= length or not step.is_sound or (found and step.step <= found[-1].step):
            raise ValueError("block.steps are not sound, not in rising order, or not of the block")
        found.append(step)
    return tuple(found)
