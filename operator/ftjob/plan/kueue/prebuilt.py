"""A Workload that was there before the job: MultiKueue makes it on the worker cluster, then the job. Pure.

MultiKueue copies the management cluster's Workload, labels included (``cloneForCreate`` in Kueue's
pkg/controller/admissionchecks/multikueue/workload.go, v0.19.2), and creates the job once one cluster has
admitted its copy. What Kueue's own integrations do with it (``EnsurePrebuiltWorkloadOwnership`` and
``ensurePrebuiltWorkloadInSync``, pkg/controller/jobframework/reconciler.go) we do too: the job becomes its
controller, and a Workload that was made for other pods ends as ``OutOfSync``. Our labels come with the owner
reference, since it is by them that we find, and are told of, what is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import items
from ftjob.models.names import WORKLOAD
from ftjob.plan.build.objects import child_meta
from ftjob.plan.kueue.workload import version_of, workload_name
from ftjob.plan.observed.state import Lookup
from ftjob.plan.plan import Adoption, Step, soonest

if TYPE_CHECKING:
    from ftjob.api.job import JobHead
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Plan

LOOK_SECONDS = 10.0
"""How soon to look again for a Workload that is not there, or another's: nobody may tell us when it comes."""


def is_awaited(job: JobHead, observed: Observed) -> bool:
    """Whether the job's Workload is for somebody else to make, and not yet the job's own."""
    return job.prebuilt_workload is not None and version_of(observed.served) is not None


def adopt(plan: Plan, job: JobHead, observed: Observed) -> Plan:
    """Look for the Workload that the job names, and make it the job's own."""
    lookup = _lookup(job, observed)
    answer = observed.looked_up.get(lookup)
    if answer is None:
        kueue = replace(plan.kueue, look_up=(*plan.kueue.look_up, lookup))
        return replace(plan, kueue=kueue, next_look=0.0)
    if answer.body is None or _keeper(job, answer.body):
        if plan.step is not Step.QUEUE:  # a job that has ended does not wait for it
            return plan
        return replace(plan, next_look=soonest(LOOK_SECONDS, plan.next_look))
    found, ours = answer.body["metadata"], child_meta(job, workload_name(job))
    others = [owner for owner in items(found, "ownerReferences") if owner.get("uid") != job.uid]
    metadata = {"labels": ours["labels"], "ownerReferences": [*others, *ours["ownerReferences"]]}
    adoption = Adoption(lookup, str(found.get("resourceVersion")), metadata)
    return replace(plan, kueue=replace(plan.kueue, adopt=adoption), next_look=0.0)


def awaited(job: JobHead, observed: Observed) -> str:
    """Return why the Workload is not the job's own yet."""
    answer = observed.looked_up.get(_lookup(job, observed))
    waits = f"waits for Kueue's Workload {workload_name(job)}"
    if answer is None:
        return waits
    if answer.body is None:
        return f"{waits}: {answer.error}"
    keeper = _keeper(job, answer.body)
    return f"{waits}, which {keeper}" if keeper else waits


def _lookup(job: JobHead, observed: Observed) -> Lookup:
    version = version_of(observed.served) or ""
    return Lookup(version, WORKLOAD, workload_name(job), job.namespace, holds_seconds=LOOK_SECONDS)


def _keeper(job: JobHead, body: dict[str, Any]) -> str:
    """Return what keeps a Workload from becoming the job's, or nothing."""
    meta = body["metadata"]
    if "deletionTimestamp" in meta:
        return "is being deleted"
    for owner in items(meta, "ownerReferences"):
        if owner.get("controller") and owner.get("uid") != job.uid:
            return f"belongs to {owner.get('kind')} {owner.get('name')} (UID {owner.get('uid')})"
    return ""
