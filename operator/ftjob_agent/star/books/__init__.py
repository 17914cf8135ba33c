"""Which book the leader keeps: of an elastic job, of one that is started again in place, or of neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ftjob_agent.star.in_place import InPlaceBook

if TYPE_CHECKING:
    from ftjob_agent.star.elastic import Conductor, ElasticBook
    from ftjob_protocol.agent_config import AgentConfig


def in_place_book(config: AgentConfig, now: float) -> Optional[InPlaceBook]:
    """Return the book of a job whose ranks may be started again in the same pods."""
    if config.in_place is None or config.elastic is not None:
        return None
    return InPlaceBook(config, config.in_place, now)


def elastic_book(config: AgentConfig, now: float) -> tuple[Optional[ElasticBook], Optional[Conductor]]:
    """Return the book of an elastic job, and who decides on its slots unless the rendezvous' child does."""
    if config.elastic is None:
        return None, None
    from ftjob_agent.star.elastic import ElasticBook, Regroup

    book = ElasticBook(config, config.elastic, now)
    return book, None if config.rendezvous is not None else Regroup(book)
