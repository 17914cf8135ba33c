"""Writing a job's status: only what differs, at once if it matters, with the resourceVersion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.control.observability.pace import urgency_of
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.control.context import Context
    from ftjob.models.status import JobStatus
    from ftjob.plan.plan import Plan


async def write_status(job: AnyJob, status: JobStatus, plan: Plan, ctx: Context) -> float | None:
    """Write what differs from the job's present status; count it, and post Events about it.

    Returns
    -------
    float or None
        Seconds after which a difference that was held back may be written; None if nothing was.

    Raises
    ------
    ftjob.kube.errors.ConflictError
        The job has changed since it was read; no effect may follow.
    """
    wire: dict[str, Any] = status.to_wire()
    patch = merge_patch(job.raw_status, wire, ours=job.status.to_wire())
    if not patch:
        return None
    effects = bool(plan.changes.create or plan.changes.delete)
    wait = ctx.pace.wait(job.uid, urgency_of(patch, job.raw_status, effects=effects))
    if wait > 0:
        return wait
    body = await ctx.kube.patch_status(
        JOB, job.namespace, job.name, patch, resource_version=job.resource_version
    )
    ctx.pace.wrote(job.uid)
    ctx.cache.update(JOB, body)
    ctx.metrics.status_written(job, status, ctx.clock())
    ctx.events.status_written(job, status, plan)
    return None


def merge_patch(old: dict[str, Any], new: dict[str, Any], *, ours: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) from old to new.

    Parameters
    ----------
    ours
        The part of ``old`` that this version understands: only such fields are removed, so that an older
        operator leaves a newer one's fields alone.
    """
    patch: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            inner_ours = ours.get(name)
            inner = merge_patch(before, value, ours=inner_ours if isinstance(inner_ours, dict) else {})
            if inner:
                patch[name] = inner
        elif name not in old or value != before:
            patch[name] = value
    patch |= {name: None for name in old if name in ours and name not in new}
    return patch
