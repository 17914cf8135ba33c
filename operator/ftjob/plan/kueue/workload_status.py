"""What Kueue is told by a Workload's status: that pods run, that they have stopped, the end. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.models.names import WORKLOAD
from ftjob.models.times import rfc3339
from ftjob.plan.plan import StatusPatch

if TYPE_CHECKING:
    from ftjob.plan.observed.kueue_admission import WorkloadState

REQUEUED_AT_ONCE = frozenset({"Preempted", "NodeFailures"})
"""Reasons of eviction after which Kueue wants the job back in its queue at once."""
MESSAGE_MAX = 1024


def is_evicted(workload: WorkloadState) -> bool:
    """Whether Kueue waits for the admission to be given back."""
    return workload.condition("Evicted") and workload.condition("QuotaReserved")


def finish(workload: WorkloadState, reason: str, message: str, *, now: float) -> StatusPatch | None:
    """Say that the Workload is over, if it does not say so yet."""
    if workload.condition("Finished"):
        return None
    return _patch(workload, now, [("Finished", "True", reason, message)])


def give_back(workload: WorkloadState, *, now: float) -> StatusPatch:
    """Give the admission of an evicted job back; nothing of it may run any more.

    As Kueue's own integrations do: ``ReconcileGenericJob``, "handle eviction", in its
    pkg/controller/jobframework/reconciler.go, v0.19.2.
    """
    evicted = workload.conditions["Evicted"]
    why, said = str(evicted.get("reason")), str(evicted.get("message", ""))
    again = "True" if why in REQUEUED_AT_ONCE else "False"
    changes = [
        ("QuotaReserved", "False", "Pending", said),
        ("Admitted", "False", "NoReservation", "The workload has no reservation"),
        ("Requeued", again, why, said),
    ]
    if workload.condition("PodsReady"):
        changes.append(("PodsReady", "False", "WaitForStart", "not all pods run"))
    return _patch(workload, now, changes, admission=None)


def say_ready(workload: WorkloadState, ready: bool, *, now: float) -> StatusPatch | None:
    """Say whether all pods run, if that is news."""
    if ready == workload.condition("PodsReady") or not workload.is_admitted:
        return None
    reason, message = ("Started", "all pods run") if ready else ("WaitForRecovery", "not all pods run")
    return _patch(workload, now, [("PodsReady", str(ready), reason, message)])


def _patch(
    workload: WorkloadState, now: float, changes: list[tuple[str, str, str, str]], **more: Any
) -> StatusPatch:
    """Return a patch of some conditions.

    It replaces the list as a whole; the resourceVersion sees to it that nothing of others is lost.
    """
    conditions = dict(workload.conditions)
    for kind, value, reason, message in changes:
        old = conditions.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == value else None
        conditions[kind] = {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message[:MESSAGE_MAX],
            "lastTransitionTime": since or rfc3339(now),
        }
    status = {"conditions": list(conditions.values()), **more}
    return StatusPatch(workload.api_version, WORKLOAD, workload.name, workload.resource_version, status)
