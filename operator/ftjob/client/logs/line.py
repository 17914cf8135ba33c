"""A line, and which lines are wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ftjob.client.errors import JobInvalid
from ftjob_protocol.values.ranges import collect_ranges


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a rank has written.

    Attributes
    ----------
    rank
        Who has written it; None where nobody can tell: the agent itself, or a pod of several ranks without
        marks.
    attempt
        In which life of the ranks, counted from 0; of an attempt in the same pods, as far as the lines tell
        that were read.
    text
        As it was written, with escape sequences, but for bytes that are not UTF-8.
    pod
        The pod's name.
    time
        When the node took it: RFC 3339 in UTC with nanoseconds.
    """

    rank: int | None
    attempt: int
    text: str
    pod: str
    time: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which lines, and for how long."""

    ranks: tuple[range, ...] | None = None
    """None: all."""
    grep: re.Pattern[str] | None = None
    since: float | None = None
    """Not older than so many seconds."""
    tail: int | None = None
    """Of what there is, only so many lines of each rank."""
    attempt: int | None = None
    follow: bool = True

    def has_rank(self, rank: int) -> bool:
        """Return whether a rank is wanted."""
        return self.ranks is None or any(rank in found for found in self.ranks)


def wanted_lines(
    ranks: str | None,
    *,
    follow: bool = True,
    grep: str | None = None,
    since: float | None = None,
    tail: int | None = None,
    attempt: int | None = None,
) -> Wanted:
    """Return which lines are wanted, from what a user has said.

    Raises
    ------
    JobInvalid
        It can't be read.
    """
    try:
        chosen = collect_ranges(ranks) if ranks is not None else None
    except ValueError as error:
        raise JobInvalid(f"ranks {ranks!r}: {error}") from None
    try:
        pattern = re.compile(grep) if grep is not None else None
    except re.error as error:
        raise JobInvalid(f"grep {grep!r}: {error}; write a regular expression of Python") from None
    if tail is not None and tail < 1:
        raise JobInvalid(f"tail {tail}: write how many lines, at least 1")
    return Wanted(ranks=chosen, grep=pattern, since=since, tail=tail, attempt=attempt, follow=follow)
