"""``where.json``: at which lines of the program a rank's main thread was seen, and how often.

The rank writes it, so it is read as a stranger's: bounded, and nothing but what it should be.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Optional, Sequence, Tuple

from ftjob_protocol import Word
from ftjob_protocol.files import nofollow
from ftjob_protocol.values.text import clean

LINES = 20
"""As many of the most frequent lines are kept."""
LINE_BYTES = 160
READ_LIMIT = 1 << 14
SAMPLES_LIMIT = 1 << 31


class Doing(Word):
    """Kinds of what a thread does, by the frames of its stack."""

    INPUT = "input"
    COLLECTIVE = "collective"
    SAVE = "save"
    COMPILE = "compile"
    SYNC = "sync"
    """It waits for a device."""
    STEP = "step"
    """An optimizer or a model's own functions."""
    OTHER = "other"


class Line(NamedTuple):
    """A line of the program."""

    text: str
    """File, line and function, as ``train.py:57 load``."""
    doing: str
    """One of `Doing`."""
    share: float
    """Of all samples, from 0 to 1."""


class Where(NamedTuple):
    """What the sampler has seen in a window of time."""

    samples: int
    lines: Tuple[Line, ...]
    """The most frequent one first."""

    def as_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        return {"samples": self.samples, "lines": [[text, doing, share] for text, doing, share in self.lines]}


def read(path: str) -> Optional[Where]:
    """Read the file; None when it is not there, or not what it should be."""
    try:
        data = nofollow.read(path, READ_LIMIT + 1)
    except OSError:
        return None
    return parse(data) if len(data) <= READ_LIMIT else None


def parse(data: bytes) -> Optional[Where]:
    """Read the document; a line that is not as it should be makes it worthless."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    samples, lines = said.get("samples"), said.get("lines")
    if not isinstance(samples, int) or isinstance(samples, bool) or not 0 <= samples <= SAMPLES_LIMIT:
        return None
    if not isinstance(lines, list) or len(lines) > LINES:
        return None
    found = [_line(line) for line in lines]
    whole = tuple(line for line in found if line is not None)
    return Where(samples, whole) if len(whole) == len(found) else None


def _line(said: Any) -> Optional[Line]:
    if not isinstance(said, list) or len(said) != 3:
        return None
    text, doing, share = said
    if not isinstance(text, str) or not isinstance(doing, str) or not _is_share(share):
        return None
    shown = clean(text, LINE_BYTES)
    known: Sequence[str] = tuple(Doing)
    return Line(shown, doing if doing in known else Doing.OTHER, float(share)) if shown else None


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
