"""Captures: what the hooks of a rank are told, what was asked for, and what a rank says when it is done."""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from ftjob_protocol import VERSION, files
from ftjob_protocol.values.ranges import read_ranges

SCHEDULED_PREFIX = "s"
SCHEDULED = f"{SCHEDULED_PREFIX}0"
"""Id of the first scheduled capture; the next ones are ``s1``, ``s2`` and so on."""

MAX_BYTES = 2 << 30
"""Most bytes of all captures of a job in its outputs, unless it says otherwise."""
KEEP_LAST = 5
"""Most captures that are kept, unless the job says otherwise."""

_SCHEDULED = re.compile(rf"{SCHEDULED_PREFIX}(0|[1-9][0-9]?)")
"""At most a hundred: ``schedule.repeat`` allows no more."""


def is_scheduled(capture: str) -> bool:
    """Whether this is the id of a scheduled capture."""
    return _SCHEDULED.fullmatch(capture) is not None


def read_done(data: Mapping[str, Any]) -> dict[str, tuple[range, ...]]:
    """Return which ranks have finished each scheduled capture; there are no others that a job may have.

    Raises
    ------
    ValueError
        They are not ranges.
    """
    found = {}
    for capture, ranks in data.items():
        if not isinstance(ranks, str):
            raise ValueError("the ranks of a capture are not a text")  # noqa: TRY004  one error for all
        if is_scheduled(capture):
            found[capture] = read_ranges(ranks)
    return found


class Wanted(NamedTuple):
    """What is to be captured, when and how: as the job's ``spec.profiling`` has it."""

    schedule: Mapping[str, Any]
    tools: Sequence[str]
    options: Mapping[str, Any]


def profile(wanted: Wanted, outputs: str) -> dict[str, Any]:
    """Return what ``FTJOB_PROFILE`` says to a rank that takes part."""
    return {
        "id": SCHEDULED,
        "captureDir": f"{outputs}/{files.CAPTURES}",
        "pluginsDir": f"{outputs}/{files.XPLANES}",
        **_as_json(wanted),
    }


class Profile(NamedTuple):
    """``FTJOB_PROFILE`` as the hooks read it."""

    prefix: str
    """Of the captures' ids."""
    capture_dir: str
    plugins_dir: str
    """Empty: nobody looks for xplane files."""
    wanted: Wanted

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Profile:
        """Read what `profile` has written; KeyError if it names no folder."""
        return cls(
            prefix=str(data.get("id", SCHEDULED)).rstrip("0123456789"),
            capture_dir=str(data["captureDir"]),
            plugins_dir=str(data.get("pluginsDir") or ""),
            wanted=Wanted(data.get("schedule") or {}, data.get("tools") or (), data.get("options") or {}),
        )


def request(capture: str, *, attempt: int, mode: str, wanted: Wanted, ranks: Sequence[int]) -> dict[str, Any]:
    """Return what ``request.json`` says of a capture that was asked for."""
    return {
        "version": VERSION,
        "id": capture,
        "attempt": attempt,
        "mode": mode,
        **_as_json(wanted),
        "ranks": sorted(ranks),
    }


class Done(NamedTuple):
    """``done.json``: which steps a rank has captured, and into which files.

    Steps count from 1; they are 0 where none are seen.
    """

    rank: int
    first_step: int
    last_step: int
    files: Sequence[str]
    is_partial: bool = False
    """Whether the script ended, or took the profiler, before the capture was whole."""
    start_ns: int = 0
    """When it began, by the clock of its host, in nanoseconds since 1970; 0: not known."""
    end_ns: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        partial = {"partial": True} if self.is_partial else {}
        steps = {"rank": self.rank, "firstStep": self.first_step, "lastStep": self.last_step}
        times = {"startNs": self.start_ns, "endNs": self.end_ns} if self.start_ns else {}
        return {**steps, **partial, **times, "files": list(self.files)}

    @classmethod
    def read(cls, data: Any) -> Optional[Done]:
        """Read it; None when it is none."""
        try:
            names = tuple(str(name) for name in data["files"])
            rank, first, last = (int(data[key]) for key in ("rank", "firstStep", "lastStep"))
            start, end = (int(data.get(key, 0)) for key in ("startNs", "endNs"))
        except (TypeError, ValueError, KeyError, AttributeError):
            return None
        return cls(rank, first, last, names, bool(data.get("partial")), start, end)


def _as_json(wanted: Wanted) -> dict[str, Any]:
    return {
        "schedule": dict(wanted.schedule),
        "tools": list(wanted.tools),
        "options": dict(wanted.options),
    }
