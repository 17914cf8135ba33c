"""The hint for a failure, or for a job that waits: the first row of the catalogue that knows its words. Pure.

The words are a stranger's: they are bounded before they are searched, and what of them comes into the hint is
cleaned like all that is told.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from ftjob.deaths.catalogue import ROWS
from ftjob.deaths.row import Where
from ftjob.deaths.traceback_text import exception_type, exceptions
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ftjob.deaths.row import Row

HINT_BYTES = 640
TEXT_CHARACTERS = 8192
"""More than a status holds of a failure's words."""
VALUE_BYTES = 100

_SPEAKS_FOR_ITSELF = re.compile(
    r"(?:Assertion|Attribute|EOF|Index|Key|Lookup|Name|NotImplemented|Recursion|Syntax|Type|UnboundLocal|Value|"
    r"ZeroDivision)Error"
)
"""An exception of these tells its own cause: what the log said before has not ended the rank."""
_PART = re.compile(r"\[([^\[\]]*)\]")
_NAME = re.compile(r"\{(\w+)\}")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def explain(*, reason: str, exit_code: int | None, message: str, log_tail: str = "") -> str | None:
    """Return what is behind a failure and what to do about it; None if nobody knows.

    Parameters
    ----------
    reason
        In one word, as in ``status.failure``.
    exit_code
        Of the rank, or of its pod.
    message
        The end of the traceback, or the last output.
    log_tail
        The lines before it.
    """
    found = exceptions(message[-TEXT_CHARACTERS:])
    output = f"{log_tail[-TEXT_CHARACTERS:]}\n{message[-TEXT_CHARACTERS:]}"
    raised = found or (output,)
    said = raised
    if not any(_SPEAKS_FOR_ITSELF.fullmatch(exception_type(text)) for text in found[:1]):
        said = (*found, output)
    texts = {Where.RAISED: raised, Where.SAID: said, Where.ENDED: (message[-TEXT_CHARACTERS:],)}
    for row in ROWS:
        if row.reasons and reason not in row.reasons:
            continue
        if row.exit_codes and exit_code not in row.exit_codes:
            continue
        hint = _hint(row, texts.get(row.where, ()))
        if hint is not None:
            return hint
    return None


def explain_waiting(words: str) -> str | None:
    """Return what to do about a job that can't start, from Kubernetes' own words."""
    text = words[:TEXT_CHARACTERS]
    return next((hint for row in ROWS if row.where is Where.WAITING and (hint := _hint(row, (text,)))), None)


def with_hint(words: str) -> str:
    """Return why a job can't start, with what to do about it behind, if that is known."""
    hint = explain_waiting(words)
    return f"{words}; {hint}" if hint is not None else words


def _hint(row: Row, texts: tuple[str, ...]) -> str | None:
    for text in texts:
        match = _compiled(row.pattern).search(text)
        if match is not None:
            values = dict(_values(match.groupdict()))
            sentences = (f"{_filled(part, values)}." for part in (row.cause, row.remedy))
            return clean(f"{' '.join(sentences)} See {row.link}", HINT_BYTES)
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _values(groups: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    for name, value in groups.items():
        if value is not None:
            yield name, _size(int(value)) if name == "bytes" else clean(value, VALUE_BYTES)


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its names replaced, without the parts whose names are not known."""

    def part(found: re.Match[str]) -> str:
        return found[1] if all(name in values for name in _NAME.findall(found[1])) else ""

    return _NAME.sub(lambda found: values.get(found[1], "?"), _PART.sub(part, text))


def _size(number: int) -> str:
    """Return a number of bytes as people say it."""
    power = min(max(0, (number.bit_length() - 1) // 10), len(_UNITS) - 1)
    return f"{number / 1024**power:.3g} {_UNITS[power]}" if power else f"{number} bytes"
