"""Writing a job's status: only what differs, at once if it matters, with the resourceVersion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.control.observability.pace import urgency_of
from ftjob.kube.resources import JOB
from ftjob.models.status import KEYS

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
        operator leaves a newer one's fields alone, in entries of lists too.
    """
    return _difference(old, _with_foreign(old, new, ours))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = _difference(before, value)
            if inner:
                patch[name] = inner
        elif name not in old or value != before:
            patch[name] = value
    return patch | {name: None for name in old if name not in new}


def _with_foreign(old: dict[str, Any], new: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return new, and in it those fields of old that are not ours."""
    merged = {name: value for name, value in old.items() if name not in ours} | new
    for name in new.keys() & old.keys():
        before, value, known = old[name], new[name], ours.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _with_foreign(before, value, known if isinstance(known, dict) else {})
        elif name in KEYS and isinstance(before, list):
            # A merge patch replaces lists as a whole.
            merged[name] = _entries_with_foreign(KEYS[name], before, value, known or [])
    return merged


def _entries_with_foreign(
    key: str, old: list[Any], new: list[dict[str, Any]], ours: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    before = {entry[key]: entry for entry in old}
    known = {entry[key]: entry for entry in ours}
    return [_with_foreign(before.get(entry[key], {}), entry, known.get(entry[key], {})) for entry in new]
