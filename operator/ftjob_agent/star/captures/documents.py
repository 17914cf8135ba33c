"""What the leader's agent has to know of captures for what it does in the outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

from ftjob_protocol.captures import SCHEDULED, is_scheduled, request

if TYPE_CHECKING:
    from ftjob_agent.star.book import Book
    from ftjob_protocol.agent_config import AgentConfig
    from ftjob_protocol.captures.window import Window


def requests(
    config: AgentConfig, book: Book, asked: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return what is to be written down of the captures that are known to be under way, by their ids.

    Parameters
    ----------
    asked
        Those that are asked for.
    """
    found, profiling = dict(asked), config.profiling
    ranks = book.profiled()
    if profiling is not None and config.is_scheduled and ranks:
        known = {capture for member in book.members.values() for capture in member.captures}
        for capture in {SCHEDULED, *known} - found.keys():
            found[capture] = request(
                capture, attempt=config.attempt, mode=profiling.mode, wanted=profiling.wanted, ranks=ranks
            )
    return found


def unfinished(book: Book, known: Mapping[str, Any], present: Optional[Window]) -> frozenset[str]:
    """Return which of the known captures are being written, or may be."""
    wanted = len(book.profiled())
    open_ones = set() if present is None else {present.id}
    for capture in filter(is_scheduled, known):
        if sum(len(member.captures.get(capture, ())) for member in book.members.values()) < wanted:
            open_ones.add(capture)
    return frozenset(open_ones)
