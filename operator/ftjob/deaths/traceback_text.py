"""The exceptions in the text of a traceback: the last one, and those that it was raised from."""

from __future__ import annotations

HEAD = "Traceback (most recent call last):"
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def exceptions(text: str) -> tuple[str, ...]:
    """Return what the exceptions of a traceback say, the last one first; nothing if the text is none.

    Those in whose handling others were raised are left out: the program went on from them.
    """
    if HEAD not in text and _CAUSE not in text and "\n  File " not in text:
        return ()
    found: list[str] = []
    for section in _sections(text):
        said = _said(section)
        if said:
            found.append(said)
    return tuple(found)


def exception_type(said: str) -> str:
    """Return the name of an exception's class, without its module."""
    return said.partition("\n")[0].partition(":")[0].strip().rpartition(".")[2]


def _sections(text: str) -> list[str]:
    """Return the last traceback of a text and its causes, the last one first."""
    parts: list[str] = []
    rest = text.rpartition(_CONTEXT)[2]
    while True:
        rest, cause, last = rest.rpartition(_CAUSE)
        parts.append(last)
        if not cause:
            return parts


def _said(section: str) -> str:
    """Return the exception of one traceback: it begins with the first line that is not indented.

    What stands before is frames; an exception's own words may have frames of another process in them, which
    say nothing of why.
    """
    lines = f"\n{section}".rpartition(f"\n{HEAD}")[2].splitlines()
    start = next((n for n, line in enumerate(lines) if n and line and not line[0].isspace()), None)
    if start is None:
        return ""
    return "\n".join(line for line in lines[start:] if not line.startswith(("  File ", "    "))).strip()
