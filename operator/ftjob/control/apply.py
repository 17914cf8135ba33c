"""Carries a plan out: deletes by UID, creates in order, and remembers why an object was refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

from ftjob.control.cache.ownership import owner_of
from ftjob.control.process.logs import about
from ftjob.kube.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from ftjob.kube.resources import CLAIM, CONFIG_MAP, JOB, POD, RESOURCES, SECRET, in_use, resource_of
from ftjob.models.manifest import mapping
from ftjob.models.names import LABEL_COLLECTS, LABEL_JOB
from ftjob.plan.observed.state import Answer, Refusal, RefusalKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ftjob.api.job import AnyJob
    from ftjob.control.context import Context
    from ftjob.kube.resources import Resource
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import Adoption, ForCollector, NewObject, ObjectRef, Plan, PodRef

AT_ONCE = 16
"""Requests in flight for one job; more only makes other jobs wait."""

BACKOFF_MAX = 60.0

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def apply(job: AnyJob, plan: Plan, ctx: Context) -> None:
    """Delete and create what a plan says. A refusal is remembered and the job planned again at once."""
    changes = plan.changes
    for pod in changes.delete:  # before the first: the others' ends may be heard while it is awaited
        ctx.cache.note_ordered_deletion(pod.uid)
    await _share_out(changes.delete, lambda pod: _delete(job, pod, ctx))
    for ref in changes.remove:
        await _remove(job, ref, ctx)
    if changes.delete_job:
        with contextlib.suppress(NotFoundError, ConflictError):  # gone, or another job has the name now
            await ctx.kube.delete(JOB, job.namespace, job.name, uid=job.uid)
    if plan.order is not None:
        ctx.orders.send(job, plan.order)
    await _collect(job, plan.collector, ctx)
    if not changes.create:
        return
    refusal = await _create_all(job, changes.create, ctx)
    if refusal is None:
        ctx.cache.refusals.clear(job)
        ctx.metrics.pods_accepted(job, len(changes.pods), ctx.clock())
        return
    logger.warning("%s %s: %s", refusal.object_kind, refusal.object_name, refusal.message, extra=about(job))
    ctx.cache.note_refusal(job, refusal)
    ctx.queue.add(job.key)


async def _collect(job: AnyJob, change: ForCollector, ctx: Context) -> None:
    """Let collectors come and go. That one is refused holds nothing up: it is a report that is missing."""
    for pod in change.delete:
        await _delete(job, pod, ctx)
    if change.create is None:
        return
    manifest = change.create.build()
    refusal = await _create(job, manifest, ctx)
    if refusal is not None:
        about, name = manifest["metadata"]["labels"][LABEL_COLLECTS], change.create.name
        ctx.cache.note_refused_collector(job, about, name, refusal.message)
        ctx.queue.add(job.key)


async def _delete(job: AnyJob, pod: PodRef, ctx: Context) -> None:
    try:
        body = await ctx.kube.delete(POD, job.namespace, pod.name, uid=pod.uid)
    except (NotFoundError, ConflictError):  # gone; a conflict says that the name has another owner now
        ctx.cache.mark_gone(pod.uid)
        ctx.queue.add(job.key)
        return
    if body.get("kind") == POD.kind:
        ctx.cache.update(POD, body)


async def _remove(job: AnyJob, ref: ObjectRef, ctx: Context) -> None:
    resource = RESOURCES[ref.api_version, ref.kind]
    try:
        body = await ctx.kube.delete(resource, job.namespace, ref.name, uid=ref.uid)
    except (NotFoundError, ConflictError):
        body = {}
    if body.get("kind") == ref.kind and "deletionTimestamp" in body["metadata"]:
        _take_in(job, resource, body, ctx)  # a finalizer keeps it for a while
        return
    key = ctx.cache.mark_gone(ref.uid)
    if key is not None:  # its event will be no news; the job may want another
        ctx.queue.add(key)


async def inform(job: AnyJob, plan: Plan, ctx: Context) -> None:
    """Write a Workload's status for Kueue, adopt a Workload, and answer the plan's look-ups.

    Raises
    ------
    ftjob.kube.errors.ConflictError
        Kueue has written the Workload's status in the meantime.
    """
    patch = plan.kueue.say
    if patch is not None:
        resource = RESOURCES[patch.api_version, patch.kind]
        version = patch.resource_version
        body = await ctx.kube.patch_status(
            resource, job.namespace, patch.name, patch.status, resource_version=version
        )
        _take_in(job, resource, body, ctx)
    if plan.kueue.adopt is not None:
        await _adopt(job, plan.kueue.adopt, ctx)
    for lookup in plan.kueue.look_up:
        resource = RESOURCES[lookup.api_version, lookup.kind]
        try:
            answer = Answer(await ctx.kube.get(resource, lookup.namespace, lookup.name))
        except NotFoundError:
            answer = Answer(error=f"there is no {lookup.kind} {lookup.name}")
        except ForbiddenError as error:
            remedy = f"let the operator get {resource.plural} of {resource.group} by a ClusterRole"
            answer = Answer(error=f"{lookup.kind} {lookup.name} can't be read: {error.message}; {remedy}")
        ctx.cache.answers.add(lookup, answer)


async def _adopt(job: AnyJob, adoption: Adoption, ctx: Context) -> None:
    """Make an object the job's own. It has just been read; if it is another now, it is read again."""
    found = adoption.found
    ctx.cache.answers.forget(found)
    resource = RESOURCES[found.api_version, found.kind]
    version = adoption.resource_version
    with contextlib.suppress(NotFoundError, ConflictError):
        body = await ctx.kube.patch_metadata(
            resource, found.namespace, found.name, adoption.metadata, resource_version=version
        )
        _take_in(job, resource, body, ctx)


async def _create_all(job: AnyJob, create: tuple[NewObject, ...], ctx: Context) -> Refusal | None:
    """Create in order; once the first pod is accepted, the others follow concurrently."""
    first_pod = next((i for i, new in enumerate(create) if new.kind == POD.kind), len(create))
    for new in create[: first_pod + 1]:
        refusal = await _create(job, new.build(), ctx)
        if refusal is not None:
            return refusal
    refusals: list[Refusal] = []

    async def one(new: NewObject) -> None:
        if not refusals:
            refusal = await _create(job, new.build(), ctx)
            if refusal is not None:
                refusals.append(refusal)

    await _share_out(create[first_pod + 1 :], one)
    return refusals[0] if refusals else None


async def _share_out(things: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Do something with each, some at once. All are tried even if one fails; then its error is raised."""
    left, errors = iter(things), list[Exception]()

    async def one_after_the_other() -> None:
        for thing in left:
            try:
                await do(thing)
            except Exception as error:  # noqa: BLE001  raised below
                errors.append(error)

    await asyncio.gather(*(one_after_the_other() for _ in range(min(AT_ONCE, len(things)))))
    if errors:
        raise errors[0]


async def _create(job: AnyJob, manifest: Manifest, ctx: Context) -> Refusal | None:
    resource = resource_of(manifest)
    try:
        body = await ctx.kube.create(manifest)
    except InvalidError as error:
        return _refusal(job, manifest, RefusalKind.INVALID, error.message, ctx)
    except ForbiddenError as error:
        return _refusal(job, manifest, RefusalKind.FORBIDDEN, error.message, ctx)
    except NotFoundError:
        if resource in in_use(ctx.discovery.served):
            ctx.discovery.soon()  # not served any more, or the namespace is gone
        raise
    except ConflictError as error:
        if error.reason != "AlreadyExists":  # a quota that was updated at the same time: try again
            raise
        return await _meet(job, manifest, resource, ctx)
    _take_in(job, resource, body, ctx)
    return None


def _take_in(job: AnyJob, resource: Resource, body: Manifest, ctx: Context) -> None:
    """Put an answer of the API server into the cache, as the watch will later."""
    if resource is CONFIG_MAP:  # it belongs to no job
        ctx.cache.shared.note(job.namespace, resource.kind, body["metadata"]["name"])
    elif resource in {SECRET, CLAIM}:  # not watched
        ctx.cache.note_existing(job, resource.kind, body["metadata"]["name"])
    else:
        ctx.cache.update(resource, body)


async def _meet(job: AnyJob, manifest: Manifest, resource: Resource, ctx: Context) -> Refusal | None:
    """Find out whose object has the name that we wanted: a name is not an identity."""
    name = manifest["metadata"]["name"]
    if resource in {SECRET, CONFIG_MAP}:
        # Its name contains the job's UID, or its own digest, which pods check; and we may not read it.
        _take_in(job, resource, manifest, ctx)
        return None
    found = await ctx.kube.get(resource, job.namespace, name)
    meta = found["metadata"]
    what = f"{resource.kind} {name}"
    owner = owner_of(resource, found)
    # A claim that outlives its job (whenDeleted: Retain) is there to be used again.
    is_kept = resource is CLAIM and not owner and mapping(meta, "labels").get(LABEL_JOB) == job.name
    if not is_kept and (owner is None or owner.name != job.name):
        message = f"{what} exists and does not belong to this job; delete it, or give the job another name"
        return _refusal(job, manifest, RefusalKind.CONFLICT, message, ctx)
    if "deletionTimestamp" in meta or not (is_kept or owner is None or owner.uid == job.uid):
        message = f"{what} of an earlier job of this name is still being deleted"
        return _refusal(job, manifest, RefusalKind.TERMINATING, message, ctx)
    _take_in(job, resource, found, ctx)
    return None


def _refusal(job: AnyJob, manifest: Manifest, kind: RefusalKind, message: str, ctx: Context) -> Refusal:
    seconds = min(BACKOFF_MAX, 2.0 ** min(ctx.cache.refusals.times(job), 10))
    return Refusal(
        kind=kind,
        object_kind=manifest["kind"],
        object_name=manifest["metadata"]["name"],
        message=message,
        retry_at=ctx.clock() + seconds,
    )
