"""From the API server into the cache and the queue: the kinds that are watched, and the way of an event."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftjob.kube.resources import JOB, POD, SERVICE, Resource, in_use
from ftjob.models.names import LABEL_UID

if TYPE_CHECKING:
    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue

Take = Callable[[Resource, str | None, Any], None]
"""Takes an event: the resource, its type (None for an item of a list), and the object."""

ESSENTIAL = (JOB, POD, SERVICE)
"""Kinds without which there is nothing to decide."""

logger = logging.getLogger(__name__)


def watched(served: frozenset[tuple[str, str]]) -> tuple[Resource, ...]:
    """Return the kinds that are watched."""
    return (*ESSENTIAL, *in_use(served))


def selector_of(resource: Resource) -> str:
    """Return the label selector of what is watched of a kind: beside jobs, what has the label of one."""
    return "" if resource is JOB else LABEL_UID


def feed(cache: Cache, queue: Queue, resource: Resource, event_type: str | None, body: Any) -> None:
    """Put an event into the cache, and the key of the job that has to be looked at into the queue.

    An object that can't be taken in is logged: it may not end the watch of all others.

    Parameters
    ----------
    event_type
        ``ADDED``, ``MODIFIED`` or ``DELETED``; None for an item of a list.
    """
    try:
        key = cache.mark_deleted(resource, body) if event_type == "DELETED" else cache.update(resource, body)
    except Exception:
        logger.exception("%s of %s not understood", event_type or "item", resource.plural)
        return
    if key is not None:
        queue.add(key)
