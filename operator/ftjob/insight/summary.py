"""``summary.json``: what the collector found, for programs and for the report.

The field names are those of the file. ``python -m ftjob.insight.summary`` prints its JSON Schema.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

import msgspec

SCHEMA = "ftjob.dev/summary"
VERSION = 1
LIMIT = 64 << 20
"""Bytes of a file that is read."""
MERGED = 8
"""Ranks whose traces a timeline has, at most."""


class SummaryError(Exception):
    """A file is no summary that this version can read; the message says why and what to do."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all parts of the file have in common."""


class Job(Part, frozen=True):
    """Whose numbers these are."""

    name: str
    uid: str = ""
    strategy: str = ""
    attempt: int = 0
    framework: str = ""


class BrokenRank(Part, frozen=True):
    """A rank whose files could not be read."""

    rank: int
    why: str


class Coverage(Part, frozen=True):
    """Which ranks were expected, and what became of them."""

    expected: int
    read: list[int]
    missing: list[int]
    broken: list[BrokenRank]


class Clock(Part, frozen=True):
    """How the ranks' clocks were brought together."""

    method: Literal["CollectiveEnds", "HostClocks"]
    matched: int
    residual_ms: float | None = None


class Capture(Part, frozen=True):
    """The capture that was read."""

    id: str
    kind: str
    steps: list[int]
    """First and last; empty where the framework has none."""
    ranks: Coverage
    clock: Clock
    merged: list[int]
    """Whose traces are in the timeline."""
    time: float | None = None
    """When it began, in seconds since 1970."""
    start_skew_ms: float | None = None
    slowdown: float | None = None
    """Median step inside the capture by that outside of it."""


class Window(Part, frozen=True):
    """Which steps were looked at."""

    steps: list[int]
    blocks: int
    excluded: dict[str, int]


class Spread(Part, frozen=True):
    """Median and 95th percentile."""

    p50: float
    p95: float


class Operator(Part, frozen=True):
    """One kind of operator, over the whole capture."""

    name: str
    count: int
    self_ms: float


class Rank(Part, frozen=True):
    """One rank; milliseconds are medians a step. None: it was not measured."""

    rank: int
    node: str = ""
    pod: str = ""
    step_ms: float | None = None
    input_ms: float | None = None
    own_ms: float | None = None
    blocked_ms: float | None = None
    transfer_ms: float | None = None
    pause_ms: float | None = None
    cpu_ms: float | None = None
    graph_ms: float | None = None
    run_delay_ms: float | None = None
    throttled_ms: float | None = None
    excess_ms: float | None = None
    persistence: float | None = None
    rss_bytes: int | None = None
    gpu_bytes: int | None = None
    last_share: float | None = None
    """In which share of the steps it came last."""
    where: list[tuple[str, str, float]] = msgspec.field(default_factory=list)
    """Line, class and share of the main thread's samples."""
    operators: list[Operator] = msgspec.field(default_factory=list)


class Collective(Part, frozen=True):
    """One kind of collective; times are means over its calls."""

    operation: str
    group: str
    bytes: int
    per_step: float
    transfer_ms: float
    wait_ms: float
    last_arrival: dict[str, float]
    """By rank, in which share of the calls it came last."""


class Evidence(Part, frozen=True):
    """A number that speaks for a finding."""

    text: str
    ref: str = ""


class Finding(Part, frozen=True):
    """One reason why the job is slow."""

    kind: str
    ranks: list[int]
    node: str | None
    cause: str | None
    cost_share: float
    confidence: Literal["High", "Medium", "Low"]
    text: str
    evidence: list[Evidence]
    next: str
    """What to do about it."""
    line: str | None = None
    """Of the user's code."""


class Verdict(Part, frozen=True):
    """The sentence, and what it rests on."""

    text: str
    findings: list[int]
    seen: dict[str, bool]


class Curve(Part, frozen=True):
    """One line over the time of the job; None where there was nothing to measure."""

    name: str
    unit: str
    values: list[float | None]


class Curves(Part, frozen=True):
    """Lines over one time axis, in seconds since 1970."""

    time: list[float]
    lines: list[Curve]
    limit_bytes: int | None = None
    """Memory that a rank may use: its share of the pod's."""
    limit_time: float | None = None
    """When memory reaches it if it goes on growing; None: not within a day."""


class Heat(Part, frozen=True):
    """Own time of each rank (rows, as in `ranks`) over steps (columns)."""

    columns: list[int]
    """The first step of each column."""
    own_ms: list[list[float | None]]


class Mark(Part, frozen=True):
    """Something that happened, on the time axis."""

    time: float
    kind: str
    text: str


class Phase(Part, frozen=True):
    """A part of the job's wall time."""

    name: str
    seconds: float


class Summary(Part, frozen=True):
    """All that is known about the speed of a job, or of one capture."""

    schema: Literal["ftjob.dev/summary"]
    version: Literal[1]
    job: Job
    capture: Capture | None
    window: Window
    step_ms: Spread | None
    ranks: list[Rank]
    collectives: list[Collective]
    findings: list[Finding]
    verdict: Verdict
    curves: Curves | None = None
    heat: Heat | None = None
    marks: list[Mark] = msgspec.field(default_factory=list)
    timeline: list[Phase] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


class _Head(msgspec.Struct):
    schema: str = ""
    version: int = 0


def encode(summary: Summary) -> bytes:
    """Return the file."""
    return msgspec.json.encode(summary)


def decode(data: bytes, name: str) -> Summary:
    """Read a file; `name` is what messages call it.

    Raises
    ------
    SummaryError
        It is none, or one of a newer version.
    """
    if len(data) >= LIMIT:
        raise SummaryError(f"{name}: it is larger than {LIMIT >> 20} MiB, so it is no summary of ours")
    if not data.strip():
        raise SummaryError(f"{name}: it is empty; write it anew with `ftjob report`")
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.schema != SCHEMA:
            raise SummaryError(f"{name}: its schema is not {SCHEMA}; give a summary.json of ftjob")
        if head.version > VERSION:
            raise SummaryError(
                f"{name}: it has version {head.version} of {SCHEMA}, and this ftjob reads version {VERSION}; "
                "use the ftjob that wrote it, or a newer one"
            )
        return msgspec.json.decode(data, type=Summary)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SummaryError(f"{name}: it is no summary of ftjob: {error}") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    schema = msgspec.json.schema(Summary)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{SCHEMA} {VERSION}",
        **schema,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
