"""Gangs: the pods of an attempt are placed all together or not at all. Pure.

One PodGroup per attempt, since a scheduler that has placed a group once lets its later pods in one by one.
It comes before the pods and goes with the attempt.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import roles_of
from ftjob.api.job import Job
from ftjob.api.problem import Problem
from ftjob.models.manifest import mapping
from ftjob.models.names import LABEL_ATTEMPT, POD_GROUP
from ftjob.models.spec import GangMode, template_of
from ftjob.plan.build.objects import child_meta
from ftjob.plan.gangs.registry import BY_VERSION, GANGS
from ftjob.plan.observed.state import GroupState
from ftjob.plan.plan import NewObject, ObjectRef, Step

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob, JobHead
    from ftjob.models.manifest import Manifest
    from ftjob.models.spec import JobSpec
    from ftjob.plan.gangs.base import Gang
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Plan

DEFAULT_SCHEDULER = "default-scheduler"


def gang_problem(spec: JobSpec, served: frozenset[tuple[str, str]]) -> Problem | None:
    """Return what keeps the gang scheduler that a job asks for from placing it."""
    gang = GANGS.get(spec.scheduling.gang)
    if gang is None or _version(gang, served) is not None:
        return None
    return Problem("spec.scheduling.gang", gang.missing, gang.remedy)


def group_name(job: JobHead) -> str:
    """Return the name of the present attempt's PodGroup."""
    return f"{job.name}-{job.status.pod_attempt}"


def gang_size(spec: JobSpec) -> int:
    """Return how many pods have to be placed together."""
    return spec.elastic.min_workers if spec.elastic is not None else sum(roles_of(spec).values())


def arrange(plan: Plan, job: AnyJob, observed: Observed) -> Plan:
    """Add to a plan what it means for the gang: its PodGroup comes before the pods and goes with them."""
    gang = _gang_of(plan, job, observed)
    version = _version(gang, observed.served) if gang is not None else None
    if gang is None or version is None or not isinstance(job, Job):
        return replace(plan, changes=replace(plan.changes, remove=_refs(observed.groups)))
    name = group_name(job)
    mine = [
        group
        for group in observed.groups
        if group.name == name and group.api_version in gang.versions and not group.deleting
    ]
    others = tuple(group for group in observed.groups if group not in mine)
    changes = plan.changes.with_pods(partial(gang.join, group=name))
    create = changes.create
    if not mine and (changes.pods or _was_taken_away(plan, job, observed)):
        create = (NewObject.of(_build_group(job, gang, version, changes.pods)), *create)
    return replace(
        plan,
        changes=replace(changes, create=create, remove=_refs(others)),
        status=replace(plan.status, gang=gang.mode),
    )


def _gang_of(plan: Plan, job: AnyJob, observed: Observed) -> Gang | None:
    """Return who places the pods that should exist now: chosen when an attempt starts, and kept."""
    if plan.step is Step.CONTINUE or _has_pods_that_stay(plan, job, observed):
        return GANGS.get(job.status.gang) if job.status.gang is not None else None
    if plan.step is not Step.START or not isinstance(job, Job):
        return None
    mode = job.spec.scheduling.gang
    if mode is not GangMode.AUTO:
        return GANGS.get(mode)
    native = GANGS[GangMode.NATIVE]
    wanted = gang_size(job.spec) > 1 and not _has_own_scheduler(job.spec)
    return native if wanted and _version(native, observed.served) is not None else None


def _has_pods_that_stay(plan: Plan, job: JobHead, observed: Observed) -> bool:
    """Whether pods live on, as they do while their ranks are started again in place."""
    if plan.step in {Step.SUCCEED, Step.FAIL, Step.REST, Step.REFUSE}:
        return False
    ended = {ref.uid for ref in plan.changes.delete}
    pods = observed.pods_of(job.status.pod_attempt)
    return any(not pod.is_over and not pod.deleting and pod.uid not in ended for pod in pods)


def _has_own_scheduler(spec: JobSpec) -> bool:
    """Whether the pods ask for another scheduler, which may know nothing of Kubernetes' own gangs."""
    templates = [template_of(spec, role) for role in roles_of(spec)]
    return any(
        mapping(t, "spec").get("schedulerName", DEFAULT_SCHEDULER) != DEFAULT_SCHEDULER for t in templates
    )


def _was_taken_away(plan: Plan, job: JobHead, observed: Observed) -> bool:
    """Whether someone has deleted the group of pods that still wait for being placed together."""
    waits = plan.step is Step.CONTINUE and job.status.running_time is None
    return waits and not plan.changes.delete and observed.refusal is None


def _version(gang: Gang, served: frozenset[tuple[str, str]]) -> str | None:
    return next((version for version in gang.versions if (version, POD_GROUP) in served), None)


def _build_group(job: Job, gang: Gang, version: str, pods: tuple[NewObject, ...]) -> Manifest:
    meta = child_meta(job, group_name(job))
    meta["labels"][LABEL_ATTEMPT] = str(job.status.pod_attempt)
    spec = gang.group_spec(job, version, gang_size(job.spec), pods)
    return {"apiVersion": version, "kind": POD_GROUP, "metadata": meta, "spec": spec}


def _refs(groups: tuple[GroupState, ...]) -> tuple[ObjectRef, ...]:
    return tuple(ObjectRef(g.api_version, POD_GROUP, g.name, g.uid) for g in groups if not g.deleting)


def read_group(raw: dict[str, Any]) -> GroupState:
    """Read a PodGroup, of whichever API, as the API server gives it."""
    meta = raw["metadata"]
    return GroupState(
        api_version=raw["apiVersion"],
        name=meta["name"],
        uid=meta["uid"],
        deleting="deletionTimestamp" in meta,
        waiting=BY_VERSION[raw["apiVersion"]].waiting(raw),
    )
