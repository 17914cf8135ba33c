"""Text that somebody else has written, made fit for a status, an Event and a terminal."""

from __future__ import annotations

import re

CUT = "…"

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
"""ECMA-48: CSI, OSC, others."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters other than tabs and ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's bidirectional controls (UAX 9)
    "\u2028\u2029\ufeff"  # other ends of lines, and the byte order mark
    "\U000e0000-\U000e007f"  # tags: whole sentences that nobody sees
    "\ud800-\udfff]"  # halves of characters, which are no UTF-8
)
_SPACES = re.compile("[\t\n]")


def clean(text: str, limit: int, *, lines: bool = False, keep_end: bool = False) -> str:
    """Return what a person would see of a text.

    Escape sequences, control characters and those that change the direction of writing go: they can hide
    what is said, or forge what others say.

    Parameters
    ----------
    text
        Whatever somebody has written.
    limit
        Bytes of UTF-8 that the result has at most.
    lines
        Whether it may have several lines; else their ends become spaces.
    keep_end
        Whether the end counts if the text is too long, as that of a traceback does.
    """
    text = _UNSEEN.sub("", ESCAPES.sub("", text))
    if not lines:
        text = _SPACES.sub(" ", text).strip()
    whole = text.encode()
    if len(whole) <= limit:
        return text
    if keep_end:
        kept = whole[-limit:].decode(errors="ignore")
        return kept if lines else kept.lstrip()
    return whole[: max(0, limit - len(CUT.encode()))].decode(errors="ignore") + CUT
