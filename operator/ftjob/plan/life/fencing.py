"""When the ranks of a lost node's pods are dead: agents kill them after a time without contact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.manifest import grace_seconds
from ftjob.models.spec import template_of
from ftjob.plan.layout import cluster_layout

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.plan import Config

FENCE_MARGIN_SECONDS = 5.0

ELASTIC_MARGIN_SECONDS = 12.0
"""The leader of an elastic job takes an agent for lost when its ranks are dead: seven seconds later."""


def cut_off_together(attempt: Attempt) -> frozenset[int]:
    """Return the earlier attempts whose pods on lost nodes miss nobody, and so may go on by themselves."""
    lost = {pod.attempt for pod in attempt.older_pods if pod.is_lost}
    return frozenset(number for number in lost if not misses_others(attempt, number))


def may_still_run(pod: PodState, attempt: Attempt, config: Config, *, alone: bool) -> bool:
    """Whether ranks of an earlier attempt's pod may still be alive.

    A pod on a lost node stays until the node comes back. Its ranks are dead all the same once its agent has
    missed another one for the contact time: then it is fenced. Ranks that were told to end, by the kubelet or
    because a peer was, have the pod's grace period. Where nobody is missed, the pod has to be waited for.

    Parameters
    ----------
    alone
        Whether the pods of its attempt on lost nodes miss nobody (`cut_off_together`).
    """
    if pod.is_over:
        return False
    if not pod.is_lost or alone:
        return True
    grace = grace_seconds(template_of(attempt.spec, pod.role))
    last_end = attempt.observed.last_ends.get(pod.attempt, pod.lost_seen)
    missed = last_end + max(config.contact_timeout_seconds, grace)
    margin = FENCE_MARGIN_SECONDS if attempt.spec.elastic is None else ELASTIC_MARGIN_SECONDS
    return attempt.now < max(missed, pod.deleting_seen + grace) + margin


def misses_others(attempt: Attempt, number: int) -> bool:
    """Whether the pods of the attempt of this number that are on lost nodes can't go on by themselves.

    They may all be well, and still see each other: nodes can be cut off together. A worker that has succeeded
    is not missed, but for the leader, which outlives all whom it hears. An elastic leader goes on with as few
    as ``minWorkers``.
    """
    pods = attempt.observed.pods_of(number)
    layout = cluster_layout(attempt.job, number)
    if not any(pod.is_lost and pod.place == layout.leader.place for pod in pods):
        return True
    elastic = attempt.spec.elastic
    enough = elastic.min_workers if elastic is not None else len(layout.workers)
    recorded = (attempt.status.restarts.succeeded or {}).get(str(number), 0)
    succeeded = max(recorded, sum(pod.succeeded for pod in pods))
    return sum(pod.is_lost for pod in pods) + succeeded < enough
