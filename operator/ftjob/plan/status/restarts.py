"""What status remembers of restarts: how many, where ranks failed, and the time they have cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.models.status import ConditionType
from ftjob.models.times import unix
from ftjob.plan.life.attempt import progressed
from ftjob.plan.life.in_place import failed_ranks
from ftjob.plan.status.hint import explained
from ftjob.plan.status.progress import newest_progress, told_progress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.models.status import Failure, Restarts
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.plan import Replacements, RestartDecision

NODES_REMEMBERED = 20


def count_restart(attempt: Attempt, failure: Failure, restart: RestartDecision) -> Restarts:
    """Count the restart that follows the end of an attempt."""
    status, old = attempt.status, attempt.status.restarts
    changes: dict[str, Any]
    if restart.disruption:
        before = 0 if progressed(status, attempt.now) else old.in_a_row or 0
        changes = {
            "disruptions": old.disruptions + 1,
            "in_a_row": before + 1,
            "failed_nodes": _failed_nodes(old, []),
        }
    else:
        changes = {
            "failures": old.failures + 1,
            "in_a_row": None,
            "failed_nodes": _failed_nodes(old, [failure]),
            "failed_ranks": failed_ranks(status, failure, attempt.now),
        }
    progress = newest_progress(told_progress(attempt), status.progress)
    step = progress.step if progress is not None else None
    return old.model_copy(update={**changes, "step": step, "succeeded": succeeded(attempt)})


def count_replacements(attempt: Attempt, changes: Replacements) -> dict[str, Any]:
    """Return what changes when workers of an elastic job are replaced."""
    found: dict[str, Any] = {"replaced": dict(changes.counts) or None}
    if changes.failures:
        old = attempt.status.restarts
        spent = {
            "failures": old.failures + len(changes.failures),
            "failed_nodes": _failed_nodes(old, changes.failures),
        }
        found |= {"restarts": old.model_copy(update=spent), "failure": explained(changes.failures[0])}
    return found


def count_lost_time(attempt: Attempt) -> Restarts:
    """Count the time from the failure until now, when all workers run again or the job is over."""
    restarts, restarting = attempt.status.restarts, attempt.status.condition(ConditionType.RESTARTING)
    if restarting is None or not restarts.failures + restarts.disruptions:
        return restarts  # a job that was resumed waits for its old pods too, but has lost nothing
    lost = max(0, int(attempt.now - unix(restarting.last_transition_time)))
    return restarts.model_copy(update={"lost_seconds": (restarts.lost_seconds or 0) + lost})


def succeeded(attempt: Attempt) -> dict[str, int] | None:
    """Return how many workers of an attempt that ends have succeeded: their pods may be deleted."""
    count = len(attempt.done)
    return {str(attempt.status.pod_attempt): count} if count else None


def _failed_nodes(restarts: Restarts, failures: Iterable[Failure]) -> list[str] | None:
    """Return the nodes to remember, with those of new failures."""
    nodes = [*(restarts.failed_nodes or []), *(failure.node for failure in failures if failure.node)]
    return nodes[-NODES_REMEMBERED:] or None
