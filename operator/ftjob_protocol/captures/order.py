"""What is asked for, and what the leader says of it: the words between operator and leader."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Optional, Sequence

from ftjob_protocol import Word
from ftjob_protocol.captures import is_scheduled
from ftjob_protocol.values.fields import Fields, finite
from ftjob_protocol.values.ranges import collect_ranges, format_ranges
from ftjob_protocol.values.text import clean

PATH = "/v1/capture"
"""Where an order is posted."""

STEPS = 5
STEPS_MAX = 1000
SECONDS_MAX = 600.0
RANKS_BYTES = 1024
"""Of an order's list of ranks, as of that in a job's spec."""
REASON_BYTES = 300
TOLD_MAX = 8
"""Captures that the leader tells of: the present one, and the last ones."""
REMOVED_MAX = 32
DOCUMENT_LIMIT = 1 << 14
AUTOMATIC_PREFIX = "auto-"
"""Of the ids of those that the leader takes by itself."""

_ID = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_RESERVED = ("hang-", AUTOMATIC_PREFIX)


def is_id(text: str) -> bool:
    """Whether this may be the id of a capture: it names a folder."""
    return _ID.fullmatch(text) is not None


def may_ask_for(capture: str) -> bool:
    """Whether somebody may ask for a capture by this id: it is not one that ftjob itself gives."""
    return is_id(capture) and not is_scheduled(capture) and not capture.startswith(_RESERVED)


class CapturePhase(Word):
    """How far a capture is that was asked for."""

    REQUESTED = "Requested"
    ARMED = "Armed"
    """All ranks wait for its first step."""
    CAPTURING = "Capturing"
    COLLECTING = "Collecting"
    """Its steps are over, and its files are being written."""
    READY = "Ready"
    PARTIAL = "Partial"
    FAILED = "Failed"
    REFUSED = "Refused"

    @property
    def is_final(self) -> bool:
        """Whether no other phase follows."""
        return self in _FINAL


_FINAL = {CapturePhase.READY, CapturePhase.PARTIAL, CapturePhase.FAILED, CapturePhase.REFUSED}


@dataclass(frozen=True)
class CaptureOrder:
    """What is asked for; to ask again for the same id changes nothing."""

    id: str
    steps: Optional[int] = None
    seconds: Optional[float] = None
    """Instead of steps. Neither: `STEPS`."""
    ranks: tuple[range, ...] = ()
    """None: those that the job's profiling names."""
    stacks: bool = False
    """Whether stacks are sampled too, whatever the job's tools are."""

    @property
    def path(self) -> str:
        """Where it is posted."""
        return PATH

    def as_json(self) -> dict[str, Any]:
        """Return its body."""
        document = {"id": self.id, "steps": self.steps, "seconds": self.seconds}
        document |= {"ranks": format_ranges(self.ranks) or None, "stacks": self.stacks or None}
        return {key: value for key, value in document.items() if value is not None}

    @classmethod
    def read(cls, body: Any) -> CaptureOrder:
        """Read an order.

        Raises
        ------
        ValueError
            It names the field, and what it has to be.
        """
        fields = Fields(body, "capture")
        unknown = sorted(set(body) - {"id", "steps", "seconds", "ranks", "stacks"})
        if unknown:
            raise ValueError(
                f"capture.{clean(unknown[0], 40)} is none of id, steps, seconds, ranks and stacks"
            )
        capture = body.get("id")
        if not isinstance(capture, str) or not may_ask_for(capture):
            raise ValueError(
                "capture.id is not made of at most 63 of a-z, 0-9 and - with a letter or digit at both ends, "
                "or ftjob itself gives it (s0, hang-…, auto-…)"
            )
        steps, seconds = fields.whole("steps", most=STEPS_MAX), finite(body.get("seconds"))
        if steps == 0 or (steps is not None and body.get("seconds") is not None):
            raise ValueError(f"capture.steps is not from 1 to {STEPS_MAX}, or stands beside seconds")
        if body.get("seconds") is not None and (seconds is None or not 0 < seconds <= SECONDS_MAX):
            raise ValueError(f"capture.seconds is not a number above 0, up to {SECONDS_MAX:g}")
        stacks = body.get("stacks", False)
        if not isinstance(stacks, bool):
            raise ValueError("capture.stacks is neither true nor false")  # noqa: TRY004  one error for all
        return cls(capture, steps, seconds, read_rank_list(body.get("ranks"), "capture.ranks"), stacks)

    @classmethod
    def of_text(cls, text: str) -> CaptureOrder:
        """Read what stands in an annotation: an id, or the JSON of an order.

        Raises
        ------
        ValueError
            It says what is wrong.
        """
        if not text.lstrip().startswith("{"):
            return cls.read({"id": text.strip()})
        try:
            body = json.loads(text[:DOCUMENT_LIMIT])
        except (ValueError, RecursionError):
            raise ValueError("capture is not JSON") from None
        return cls.read(body)


@dataclass(frozen=True)
class Asked:
    """What the leader says of a capture that was asked for, or that it takes by itself."""

    id: str
    phase: str
    done: int = 0
    """Ranks that have come to this phase."""
    ranks: int = 0
    reason: str = ""
    is_removed: bool = False
    """Whether its files are gone, since the budget is used up."""

    def as_json(self) -> dict[str, Any]:
        """Return it as it is told."""
        document: dict[str, Any] = {
            "id": self.id,
            "phase": str(self.phase),
            "done": self.done,
            "ranks": self.ranks,
        }
        document |= {"reason": clean(self.reason, REASON_BYTES)} if self.reason else {}
        return document | ({"removed": True} if self.is_removed else {})

    @classmethod
    def read(cls, data: Any) -> Asked:
        """Read it.

        Raises
        ------
        ValueError
            It names the field that is wrong.
        """
        fields = Fields(data, "asked")
        capture = fields.text("id", 63)
        if not is_id(capture):
            raise ValueError("asked.id names no folder")
        return cls(
            id=capture,
            phase=fields.one_of("phase", CapturePhase),
            done=fields.whole("done", most=10**7) or 0,
            ranks=fields.whole("ranks", most=10**7) or 0,
            reason=fields.text("reason", REASON_BYTES),
            is_removed=data.get("removed") is True,
        )


def read_asked(data: Any) -> tuple[Asked, ...]:
    """Read all that the leader says of such captures.

    Raises
    ------
    ValueError
        It says what is wrong.
    """
    if data is None:
        return ()
    if not isinstance(data, list):
        raise ValueError("answer.asked is not a list")  # noqa: TRY004  one error for all that can be wrong
    found = tuple(Asked.read(item) for item in data[:TOLD_MAX])
    if len({asked.id for asked in found}) < len(found):
        raise ValueError("answer.asked has the same id twice")
    return found


def read_rank_list(text: Any, name: str) -> tuple[range, ...]:
    """Read a list of ranks as people write it, ``0,1,5-7``, in rising order; nothing is no list.

    Raises
    ------
    ValueError
        It is none; the text names it.
    """
    if text is None:
        return ()
    if not isinstance(text, str) or len(text) > RANKS_BYTES:
        raise ValueError(f"{name} is not a list of ranks such as 0,3-5")
    try:
        return collect_ranges(text)
    except ValueError:
        raise ValueError(f"{name} is not a list of ranks such as 0,3-5") from None


def count_ranks(ranks: Sequence[range]) -> int:
    """Return how many ranks these are."""
    return sum(map(len, ranks))
