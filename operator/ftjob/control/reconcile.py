"""The operator on one page: look at a job, decide, write the intent down, then act."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ftjob.api.defaults import roles_of
from ftjob.api.job import Job, refused_job
from ftjob.control.apply import apply, inform
from ftjob.control.write_status import write_status
from ftjob.plan.collector.reports import look_after
from ftjob.plan.decide import decide
from ftjob.plan.kueue.multikueue import send_away
from ftjob.plan.kueue.queue import as_admitted
from ftjob.plan.plan import soonest
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.api.problem import Problem
    from ftjob.control.context import Context
    from ftjob.control.queue import Key
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Plan

LARGE = 500
"""Pods of a job whose plan may take more than some milliseconds: other jobs don't wait for it."""

KIND_SECONDS = 5.0
"""How soon to look again where kinds are served that are not watched yet."""
NEWER_VERSION = (
    "in this version of ftjob. A newer one has probably written it, so this one leaves the job and its pods "
    "as they are; upgrade the operator, and the job goes on"
)


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Bring the cluster one step nearer to what a job asks for.

    Returns
    -------
    float or None
        Seconds until the next look; None if only an event can change anything.
    """
    submitted = ctx.cache.job(key)
    if submitted is None or submitted.deleting:
        return None
    if not (submitted.is_ours or submitted.runs_elsewhere):
        return None
    if submitted.not_understood is not None:
        _leave_alone(submitted, submitted.not_understood, ctx)
        return None
    if submitted.runs_elsewhere:
        return await _send_away(submitted, ctx)
    return await _bring_nearer(submitted, ctx)


async def refuse(job: AnyJob, problem: Problem, ctx: Context) -> None:
    """Have a job that has not been started fail by name, for it can't be handled."""
    if job.is_ours and job.status.start_time is None:
        await _bring_nearer(refused_job(job, problem), ctx)


async def _bring_nearer(submitted: AnyJob, ctx: Context) -> float | None:
    observed = ctx.cache.observe(submitted)
    job = as_admitted(submitted, observed)
    plan, status = await _think(job, observed, ctx)
    if plan.is_for_want_of_a_kind and await ctx.discovery.has_news():
        return KIND_SECONDS  # it was installed just now; a refusal would be final
    pending = await write_status(job, status, plan, ctx)  # intent first; nothing if nothing differs
    await apply(job, plan, ctx)  # then the effects, matched by UID; errors come back here
    await inform(job, plan, ctx)  # and last Kueue, and what the next decision has to know
    return soonest(plan.next_look, pending, look_after(job.status, status))


async def _think(job: AnyJob, observed: Observed, ctx: Context) -> tuple[Plan, JobStatus]:
    """Decide, and say how the job is; about a large job in a thread, so that the event loop goes on."""
    now = ctx.clock()

    def think() -> tuple[Plan, JobStatus]:
        plan = decide(job, observed, now=now, config=ctx.config)
        return plan, derive_status(job, observed, plan, now=now)

    wanted = sum(roles_of(job.spec).values()) if isinstance(job, Job) else 0
    return await asyncio.to_thread(think) if max(wanted, len(observed.pods)) > LARGE else think()


def _leave_alone(job: AnyJob, problem: Problem, ctx: Context) -> None:
    """Say that a newer operator has to go on with the job; write nothing and delete nothing until then."""
    ctx.events.warn(job, Reason.NEWER_VERSION, f"{problem.field}: {problem.message} {NEWER_VERSION}")


async def _send_away(job: AnyJob, ctx: Context) -> float | None:
    """Keep the Workload of a job that Kueue runs in another cluster. MultiKueue writes the job's status."""
    plan = send_away(job, ctx.cache.observe(job), now=ctx.clock(), config=ctx.config)
    if plan.reason:
        ctx.events.warn(job, plan.reason, plan.message)
    await apply(job, plan, ctx)
    await inform(job, plan, ctx)
    return plan.next_look
