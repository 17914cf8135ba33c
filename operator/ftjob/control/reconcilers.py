"""The reconcilers: each takes a key and reconciles it, and never lets one job's trouble be another's."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ftjob.api.problem import Problem
from ftjob.control.process.logs import about
from ftjob.control.reconcile import reconcile, refuse
from ftjob.kube.errors import ApiError, ConflictError, NotFoundError
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.control.context import Context
    from ftjob.control.queue import Key

MISTAKES = 4
"""In a row, which takes one and a half seconds: the first may have met another's moment."""

logger = logging.getLogger(__name__)


async def reconcile_jobs(ctx: Context) -> None:
    """Reconcile keys until cancelled."""
    while True:
        key = await ctx.queue.get()
        started = time.perf_counter()
        try:
            await look_at(key, ctx)
        finally:
            ctx.metrics.reconcile_seconds.observe(time.perf_counter() - started)
            ctx.queue.done(key)


async def _confess(job: AnyJob, error: Exception, ctx: Context) -> None:
    """Say in an Event that ftjob can't handle a job; one that is not running fails when that stays so."""
    ctx.events.warn(job, Reason.INTERNAL_ERROR, f"ftjob made a mistake with this job: {error!r}")
    if ctx.queue.failures(job.key) < MISTAKES:
        return
    problem = Problem(
        "spec", f"ftjob can't handle it ({error!r})", "change it, and report this as a bug of ftjob"
    )
    try:
        await refuse(job, problem, ctx)
    except Exception:
        logger.exception("it can't be said in its status either", extra=about(job))


async def look_at(key: Key, ctx: Context) -> None:
    """Reconcile one key; whatever goes wrong, it comes again later."""
    job = ctx.cache.job(key)
    extra = about(job) if job else {}
    try:
        next_look = await reconcile(key, ctx)
    except (ConflictError, NotFoundError) as error:
        # Someone was faster, and the watch will say so.
        logger.debug("looked at too early: %s", error, extra=extra)
        ctx.queue.back_off(key)
    except ApiError as error:
        seconds = ctx.queue.back_off(key)
        logger.warning("request failed, next try in %.1f s: %s", seconds, error, extra=extra)
        ctx.metrics.errors.inc()
    except Exception as error:
        seconds = ctx.queue.back_off(key)
        logger.exception("a mistake in ftjob; next try in %.1f s", seconds, extra=extra)
        ctx.metrics.errors.inc()
        if job is not None:
            await _confess(job, error, ctx)
    else:
        ctx.queue.forget_failures(key)
        if next_look is not None:
            ctx.queue.add_after(key, next_look)
