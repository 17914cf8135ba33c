"""What the leader makes of an order: the same window for all ranks, and how it reaches the hooks.

The leader tells its agents; each puts the window into its ranks' folders and counts up the *order word*,
which a thread of the hooks looks at.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from typing import Any, Mapping, NamedTuple, Optional

from ftjob_protocol import Word
from ftjob_protocol.captures import Wanted, profile
from ftjob_protocol.captures.order import REASON_BYTES, SECONDS_MAX, STEPS_MAX, is_id, read_rank_list
from ftjob_protocol.files import CAPTURE, ORDER, nofollow
from ftjob_protocol.values.fields import Fields, finite
from ftjob_protocol.values.ranges import format_ranges
from ftjob_protocol.values.text import clean

DOCUMENT_LIMIT = 1 << 14

_WORD = struct.Struct("<8sQ")
_MAGIC = b"FTJORDR1"
_NUMBER_AT = 8


class Window(NamedTuple):
    """The steps, or the time, that all chosen ranks capture."""

    id: str
    ranks: tuple[range, ...]
    at_step: int = 0
    """The first step, counted from 1 as in ``steps.bin``; 0: it begins at a time."""
    at_ns: int = 0
    """When it begins, in nanoseconds since 1970."""
    steps: int = 0
    """Of ranks whose steps are counted; 0: it has a length in seconds."""
    seconds: float = 0.0
    stacks: bool = False

    def holds(self, rank: int) -> bool:
        """Whether a rank takes part."""
        return any(rank in found for found in self.ranks)

    def as_json(self) -> dict[str, Any]:
        """Return it as agents and ranks are told."""
        document = {
            "id": self.id,
            "ranks": format_ranges(self.ranks),
            "atStep": self.at_step,
            "atNs": self.at_ns,
        }
        return {**document, "steps": self.steps, "seconds": self.seconds, "stacks": self.stacks}

    @classmethod
    def read(cls, data: Any) -> Window:
        """Read it.

        Raises
        ------
        ValueError
            It names the field that is wrong.
        """
        fields = Fields(data, "window")
        capture, seconds = data.get("id"), finite(data.get("seconds"))
        if not isinstance(capture, str) or not is_id(capture):
            raise ValueError("window.id names no folder")
        if seconds is None or not 0 <= seconds <= SECONDS_MAX:
            raise ValueError("window.seconds is not a number of seconds")
        return cls(
            id=capture,
            ranks=read_rank_list(data.get("ranks"), "window.ranks"),
            at_step=fields.whole("atStep") or 0,
            at_ns=fields.whole("atNs") or 0,
            steps=fields.whole("steps", most=STEPS_MAX) or 0,
            seconds=seconds,
            stacks=data.get("stacks") is True,
        )


class RankPhase(Word):
    """How far one rank is."""

    ARMED = "Armed"
    CAPTURING = "Capturing"
    SAVING = "Saving"
    DONE = "Done"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        """Whether no other phase follows."""
        return self in {RankPhase.DONE, RankPhase.FAILED}


class RankCapture(NamedTuple):
    """``capturing.json``: how far a rank is with the capture that it was told of last."""

    id: str
    phase: str
    first_step: int = 0
    """0: not begun, or by time."""
    note: str = ""
    """Why it has failed, is not whole, or has begun late."""
    is_whole: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return it as the file and the agent's message have it."""
        return {
            "id": self.id,
            "phase": str(self.phase),
            "firstStep": self.first_step,
            "note": clean(self.note, REASON_BYTES),
            "whole": self.is_whole,
        }

    @classmethod
    def read(cls, data: Any) -> Optional[RankCapture]:
        """Read it; None when it is none."""
        try:
            fields = Fields(data, "capturing")
            capture, phase = fields.text("id", 63), fields.one_of("phase", RankPhase)
            first = fields.whole("firstStep") or 0
            note = fields.text("note", REASON_BYTES)
        except ValueError:
            return None
        return cls(capture, phase, first, note, data.get("whole") is not False) if is_id(capture) else None


class Told(NamedTuple):
    """``capture.json``: what the hooks of a rank are told; no window takes the last one back."""

    window: Optional[Window]
    capture_dir: str = ""
    plugins_dir: str = ""
    wanted: Wanted = Wanted({}, (), {})

    @classmethod
    def read(cls, rank_dir: str) -> Told:
        """Read the file.

        Raises
        ------
        OSError, ValueError, KeyError
            It is not there, or not what an agent writes.
        """
        data = json.loads(nofollow.read(os.path.join(rank_dir, CAPTURE), DOCUMENT_LIMIT))
        if not data:
            return cls(None)
        wanted = Wanted({}, tuple(str(tool) for tool in data["tools"]), dict(data["options"]))
        return cls(Window.read(data["window"]), str(data["captureDir"]), str(data["pluginsDir"]), wanted)


def tell(rank_dir: str, window: Optional[Window], wanted: Wanted, outputs: str) -> None:
    """Write ``capture.json`` into a rank's folder, then count the order word up.

    Raises
    ------
    OSError
        The folder is gone, or full.
    """
    document: Mapping[str, Any] = {}
    if window is not None:
        document = {**profile(wanted, outputs), "id": window.id, "window": window.as_json()}
    with nofollow.Folder(rank_dir) as folder:
        folder.write(CAPTURE, json.dumps(document).encode())
        file = folder.open(ORDER, os.O_RDWR)
        try:
            data = os.pread(file, _WORD.size, 0)
            number = _WORD.unpack(data)[1] if len(data) == _WORD.size else 0
            os.pwrite(file, _WORD.pack(_MAGIC, (number + 1) % 2**64), 0)
        finally:
            os.close(file)


def make_word(folder: nofollow.Folder) -> None:
    """Put the order word into a rank's folder, before the rank starts: nothing is ordered yet."""
    folder.write(ORDER, _WORD.pack(_MAGIC, 0))


class OrderWord:
    """The order word as the hooks see it: a look costs no system call."""

    def __init__(self, rank_dir: str) -> None:
        """Map it; OSError or ValueError where there is none, since the job wants no captures."""
        file = nofollow.open_regular(os.path.join(rank_dir, ORDER))
        try:
            mapped = mmap.mmap(file, _WORD.size, prot=mmap.PROT_READ)
        finally:
            os.close(file)
        if mapped[:_NUMBER_AT] != _MAGIC:
            raise ValueError("order.bin is of another release")
        self._number = memoryview(mapped)[_NUMBER_AT:].cast("Q")
        self._seen = 0

    def has_news(self) -> bool:
        """Whether it was counted up since this was last asked."""
        number = self._number[0]
        if number == self._seen:
            return False
        self._seen = number
        return True
