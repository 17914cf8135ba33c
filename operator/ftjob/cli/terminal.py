"""What reaches the terminal: text, whatever a file or a rank has put into it."""

from __future__ import annotations

import re
import sys
from typing import TextIO

from ftjob_protocol.values.text import clean

LINE_BYTES = 2000

_COLOURS = re.compile("(\x1b\\[[0-9;:]*m)")


def one_line(text: str) -> str:
    """Return a text as one line of bounded length."""
    return clean(text, LINE_BYTES)


def shown(text: str) -> str:
    """Return a text as it can be shown, with its lines and its indentation."""
    return clean(text, len(text) * 4, lines=True)


def coloured(text: str) -> str:
    """Return a text as it can be shown in its own colours."""
    return "".join(part if _COLOURS.fullmatch(part) else shown(part) for part in _COLOURS.split(text))


def say(*lines: str, stream: TextIO | None = None) -> None:
    """Print lines, to stderr unless said otherwise."""
    print("\n".join(map(shown, lines)), file=stream or sys.stderr)
