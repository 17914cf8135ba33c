"""The last lines of a rank as a text that fits into a status."""

from __future__ import annotations

from ftjob_protocol.failures import LOG_BYTES, LOG_LINES
from ftjob_protocol.values.text import ESCAPES, clean

LINE_CHARACTERS = 300


def last_lines(raw: bytes, *, known: str = "", is_cut: bool = False) -> str:
    """Return the last lines without what a terminal would not show.

    Parameters
    ----------
    raw
        What the rank wrote last.
    known
        Lines that the reader gets anyway, such as those of the traceback.
    is_cut
        Whether the first line of `raw` may lack its beginning.
    """
    lines = raw.decode("utf-8", "replace").split("\n")
    if is_cut and len(lines) > 1:
        lines = lines[1:]
    told = {line.strip() for line in known.splitlines()}
    found: list[str] = []
    size = 0
    for line in reversed(lines):
        text = _shown(line)
        if not text or text.strip() in told:
            continue
        size += len(text.encode()) + 1
        if len(found) == LOG_LINES or size > LOG_BYTES + 1:
            break
        found.append(text)
    return "\n".join(reversed(found))


def _shown(line: str) -> str:
    """Return a line as it stands in the end: a progress bar writes over itself."""
    line = ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2]
    line = clean(line, LOG_BYTES, lines=True).rstrip()
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"
