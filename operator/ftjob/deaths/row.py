"""One known way to die: how it is recognised, its cause, the remedy, and where more is written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Where(Enum):
    """Which words a pattern is looked for in."""

    RAISED = "the exception that ended the rank"
    """Also those that it was raised from. A rank without an exception on record: its last output."""
    SAID = "the exception, or the last output"
    """Libraries in C++ say what is wrong before they raise something that does not."""
    ENDED = "how the pod ended"
    """In Kubernetes' own words, where no rank failed by itself."""
    WAITING = "why the job waits"


@dataclass(frozen=True)
class Row:
    """One way to die.

    In `cause` and `remedy` stand names in braces: what the pattern's group of that name has found. A part in
    brackets is left out if one of its names was not found. A group called ``bytes`` is shown as a size.
    """

    name: str
    """Unique; lower case, with dashes."""
    where: Where
    pattern: str
    """A regular expression without nested or unbounded repetition, since the text is a stranger's."""
    cause: str
    remedy: str
    link: str
    reasons: tuple[str, ...] = ()
    """Of the failure; empty: any."""
    exit_codes: tuple[int, ...] = ()
    """Empty: any."""
