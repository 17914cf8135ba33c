"""How a job ends, is restarted, is queued and is cleaned up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.convert.draft import refused
from ftjob.convert.read import mapping_in, number
from ftjob.models.names import KUEUE_LABEL, MULTIKUEUE

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft

UNBOUNDED = 10
"""How often a job without a limit is restarted: upstream has none, and ftjob wants one."""
ANY_FAILURE = "1-255"
RUN_POLICY = frozenset(
    {
        "activeDeadlineSeconds",
        "backoffLimit",
        "cleanPodPolicy",
        "managedBy",
        "schedulingPolicy",
        "suspend",
        "ttlSecondsAfterFinished",
    }
)
"""What older versions of jobs have in their spec itself."""
CLEAN = {"running": "Running", "all": "All", "none": "None"}


def run_policy(draft: Draft) -> None:
    """Take over a job's ``runPolicy``, also from where older versions have it."""
    policy = {key: draft.given[key] for key in RUN_POLICY if draft.given.get(key) is not None}
    policy |= mapping_in(draft.given, "runPolicy", "spec")
    path = "spec.runPolicy" if "runPolicy" in draft.given else "spec"
    draft.drop_others(policy, path, RUN_POLICY)
    if policy.get("cleanPodPolicy") is not None:
        clean = CLEAN.get(str(policy["cleanPodPolicy"]).lower())
        if clean is None:
            raise refused(
                f"{path}.cleanPodPolicy",
                f"{policy['cleanPodPolicy']!r} is unknown",
                "write Running, All or None",
            )
        draft.spec["cleanPods"] = clean
    for key in ("ttlSecondsAfterFinished", "activeDeadlineSeconds"):
        if policy.get(key) is not None:
            draft.spec[key] = number(policy[key], f"{path}.{key}")
    queueing(draft, policy, path)
    _scheduling(draft, mapping_in(policy, "schedulingPolicy", path), f"{path}.schedulingPolicy")


def queueing(draft: Draft, given: dict[str, Any], path: str) -> None:
    """Take over ``suspend`` and ``managedBy``."""
    labels = mapping_in(mapping_in(draft.source, "metadata", ""), "labels", "metadata")
    if given.get("suspend"):
        if labels.get(KUEUE_LABEL):
            draft.dropped(f"{path}.suspend", f"ftjob waits by itself for the queue of label {KUEUE_LABEL}")
        else:
            draft.spec["suspend"] = True
    manager = given.get("managedBy")
    if manager == MULTIKUEUE:
        draft.spec["managedBy"] = MULTIKUEUE
    elif manager:
        draft.dropped(f"{path}.managedBy", f"{manager} does not manage jobs of ftjob")


def backoff_limit(draft: Draft) -> int | None:
    """Return the limit of restarts that the job itself has."""
    for parent, path in (
        (mapping_in(draft.given, "runPolicy", "spec"), "spec.runPolicy"),
        (draft.given, "spec"),
    ):
        if parent.get("backoffLimit") is not None:
            return number(parent["backoffLimit"], f"{path}.backoffLimit")
    return None


def restart(draft: Draft, policy: Any, limit: int | None) -> None:
    """Take over a role's ``restartPolicy``.

    Parameters
    ----------
    policy
        Never, OnFailure, Always or ExitCode; OnFailure is the default of all operators.
    limit
        How often the job is restarted at most; None: upstream has no limit.
    """
    policy = policy or "OnFailure"
    if policy == "Never":
        return
    if policy not in {"OnFailure", "Always", "ExitCode"}:
        raise refused("restartPolicy", f"{policy!r} is unknown", "write Never, OnFailure or ExitCode")
    if limit is None:
        draft.changed("restart.limit", f"it is {UNBOUNDED}: there was no limit before")
    if policy == "Always":
        draft.changed("restartPolicy Always", "a rank that has succeeded is not started again")
    draft.spec["restart"] = {"limit": UNBOUNDED if limit is None else limit}
    if policy != "ExitCode":
        draft.set("restart", retryExitCodes=ANY_FAILURE)


def _scheduling(draft: Draft, given: dict[str, Any], path: str) -> None:
    if given.get("queue"):
        draft.set("scheduling", gang="Volcano", queue=str(given["queue"]))
    if given.get("priorityClass"):
        draft.set("scheduling", priorityClassName=str(given["priorityClass"]))
    if given.get("minAvailable") is not None:
        draft.dropped(f"{path}.minAvailable", "ftjob's gangs are all workers")
    if given.get("scheduleTimeoutSeconds") is not None:
        draft.dropped(
            f"{path}.scheduleTimeoutSeconds", "scheduling.timeoutSeconds is like it, but fails the job"
        )
    draft.drop_others(given, path, {"queue", "priorityClass", "minAvailable", "scheduleTimeoutSeconds"})
