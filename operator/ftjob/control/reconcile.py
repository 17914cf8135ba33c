"""The operator on one page: look at a job, decide, write the intent down, then act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.control.apply import apply, inform
from ftjob.control.status import write_status
from ftjob.plan.decide import plan
from ftjob.plan.kueue import as_admitted
from ftjob.plan.status import derive_status

if TYPE_CHECKING:
    from ftjob.control.context import Context
    from ftjob.control.queue import Key


async def reconcile(key: Key, ctx: Context) -> float | None:
    """Bring the cluster one step nearer to what a job asks for.

    Returns
    -------
    float or None
        Seconds until the next look; None if only an event can change anything.
    """
    submitted = ctx.cache.job(key)
    if submitted is None or submitted.deleting or not submitted.is_ours:
        return None
    now = ctx.clock()
    observed = ctx.cache.observe(submitted)
    job = as_admitted(submitted, observed)
    decision = plan(job, observed, now=now, config=ctx.config)
    status = derive_status(job, observed, decision, now=now)
    pending = await write_status(job, status, decision, ctx)  # intent first; nothing if nothing differs
    await apply(job, decision, ctx)  # then the effects, matched by UID; errors come back here
    await inform(job, decision, ctx)  # and last whoever else is concerned
    return min((wait for wait in (decision.next_look, pending) if wait is not None), default=None)
