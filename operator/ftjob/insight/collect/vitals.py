"""``vitals/rank-00003.jsonl``: what each rank measured, a line for each block of its steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec

from ftjob_protocol import files
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob_protocol.files.nofollow import Folder

LIMIT = 5 << 20
"""Bytes of one file."""
NODE_BYTES = 253
_RANK = re.compile(r"rank-([0-9]{5,7})\.jsonl")
_LONGEST_S = 1e11

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Spread = tuple[Milliseconds, Milliseconds, Milliseconds]
"""Median, 95th percentile and maximum."""
Whole = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class Line(msgspec.Struct, rename="camel", gc=False):
    """One block. Other fields are of a newer agent."""

    rank: Whole
    first: Whole
    length: Whole
    start_s: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_S)]
    end_s: Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_S)]
    step_ms: Spread
    attempt: Whole = 0
    node: str = ""
    input_ms: Spread | None = None
    own_ms: Spread | None = None
    blocked_ms: Spread | None = None
    collectives: Whole = 0
    pauses: list[tuple[Whole, Milliseconds]] = []
    cpu_ms: Milliseconds | None = None
    graph_ms: Milliseconds | None = None
    run_delay_ms: Milliseconds | None = None
    throttled_ms: Milliseconds | None = None
    rss_bytes: Whole | None = None
    gpu_bytes: Whole | None = None
    where: list[tuple[str, str, Annotated[float, msgspec.Meta(ge=0, le=1)]]] = []
    is_first: bool = False
    memory_limit_bytes: Whole | None = None
    """The rank's share of what its pod may use, in the first line alone."""


_line = msgspec.json.Decoder(Line)


@dataclass(frozen=True)
class Vitals:
    """All lines of a job."""

    ranks: dict[int, list[Line]]
    """In the order of time."""
    damaged: int
    """Lines that can't be read; the last one of a rank that was killed may be cut off."""


def read(outputs: Folder) -> Vitals:
    """Read what there is."""
    found: dict[int, list[Line]] = {}
    damaged = 0
    try:
        folder = outputs.enter(files.VITALS)
    except OSError:
        return Vitals({}, 0)
    with folder:
        for name in list(folder.names()):
            match = _RANK.fullmatch(name)
            if match is None:
                continue
            lines = []
            for part in (name, *files.tails(name)):
                good, bad = _lines(folder, part, int(match[1]))
                lines += good
                damaged += bad
            if lines:
                found[int(match[1])] = lines
    return Vitals(found, damaged)


def nodes(outputs: Folder, ranks: Iterable[int]) -> dict[int, str]:
    """Return on which nodes some ranks are, as far as their last blocks have told."""
    found: dict[int, str] = {}
    try:
        folder = outputs.enter(files.VITALS)
    except OSError:
        return found
    with folder:
        for rank in ranks:
            name = f"{files.rank_name(rank)}.jsonl"
            older, newer = files.tails(name)
            for part in (newer, older, name):
                lines, _ = _lines(folder, part, rank)
                if lines:
                    found[rank] = clean(lines[-1].node, NODE_BYTES)
                    break
    return found


def _lines(folder: Folder, name: str, rank: int) -> tuple[list[Line], int]:
    try:
        data = folder.read(name, LIMIT)
    except OSError:
        return [], 0
    good, bad = [], 0
    for text in data.splitlines():
        line = read_line(text)
        if line is not None and line.rank == rank:
            good.append(line)
        else:
            bad += 1
    return good, bad


def read_line(text: bytes) -> Line | None:
    """Return what a line says; None if it can't be read."""
    try:
        line = _line.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return line if line.end_s >= line.start_s else None
