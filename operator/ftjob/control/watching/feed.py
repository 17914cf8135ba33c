"""From the API server into the cache and the queue: the kinds that are watched, and the way of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.kube.resources import JOB, POD, SERVICE, in_use
from ftjob.models.names import LABEL_UID

if TYPE_CHECKING:
    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue
    from ftjob.kube.resources import Resource
    from ftjob.models.manifest import Manifest

OURS = LABEL_UID
"""Label selector of what belongs to jobs: the label exists."""


def watched(served: frozenset[tuple[str, str]]) -> tuple[tuple[Resource, str], ...]:
    """Return the kinds that are watched, each with its label selector."""
    return ((JOB, ""), (POD, OURS), (SERVICE, OURS), *((resource, OURS) for resource in in_use(served)))


def feed(cache: Cache, queue: Queue, resource: Resource, event_type: str | None, body: Manifest) -> None:
    """Put an event into the cache, and the key of the job that has to be looked at into the queue.

    Parameters
    ----------
    event_type
        ``ADDED``, ``MODIFIED`` or ``DELETED``; None for an item of a list.
    """
    key = cache.mark_deleted(resource, body) if event_type == "DELETED" else cache.update(resource, body)
    if key is not None:
        queue.add(key)
