"""Follows the leaders of all running jobs: how far the training is, and at once that ranks have failed.

One request is held open for each job. The leader answers when a rank's state changes, or after ten seconds
with how far the training is by then.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.control.leaders.agent_client import AgentError, AnswerError
from ftjob.models.status import Phase
from ftjob.plan.life.attempt import is_waited_for, workers_run
from ftjob.plan.observed.why_waiting import first_absent
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob, JobHead
    from ftjob.control.context import Context
    from ftjob_protocol.signing.signature import Sender

HOLD_SECONDS = 10.0
LOOK_SECONDS = 1.0
NEW_AT_ONCE = 200
"""How many more jobs are followed at each look: a new operator does not connect to all leaders at once."""
PAUSE_SECONDS = 0.25
"""Between two requests for one job: the ranks of a large one change one after the other."""
FIRST_RETRY_SECONDS = 0.5

logger = logging.getLogger(__name__)


async def follow_jobs(ctx: Context) -> None:
    """Follow all jobs whose ranks run, until cancelled."""
    _allow_files()
    following: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            following = {uid: task for uid, task in following.items() if not task.done()}
            new = [j for j in ctx.cache.jobs() if j.uid not in following and is_followed(j)]
            for job in new[:NEW_AT_ONCE]:
                following[job.uid] = asyncio.create_task(follow(job, ctx))
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        for task in following.values():
            task.cancel()


def is_followed(job: JobHead) -> bool:
    """Whether the job's pods run, be it that its ranks do, are yet to be started, or wait for an order."""
    return job.is_ours and (workers_run(job.status) or is_waited_for(job.status))


async def follow(job: JobHead, ctx: Context) -> None:
    """Follow one job as long as its ranks run; have it looked at when there is news."""
    version, failures = 0, 0
    sender = ctx.agents.sender(job)
    while True:
        now = ctx.cache.job(job.key)
        if now is None or now.uid != job.uid or not is_followed(now):
            return
        heard = await ask(now, ctx, sender, version=version)
        if heard is None:
            await asyncio.sleep(min(HOLD_SECONDS, FIRST_RETRY_SECONDS * 2.0**failures))
            version, failures = 0, min(failures + 1, 10)
        else:
            version, failures = heard, 0
            await asyncio.sleep(PAUSE_SECONDS)


async def ask(job: AnyJob, ctx: Context, sender: Sender, *, version: int = 0) -> int | None:
    """Ask one job's leader; return the version of its answer, None if there was none."""
    pods = ctx.cache.observe(job).pods
    try:
        state = await ctx.agents.progress(job, pods, sender, version=version, wait=HOLD_SECONDS)
    except AnswerError as error:
        ctx.events.warn(job, Reason.ANSWER_REFUSED, f"the answer of the pod of index 0 is refused: {error}")
        return None
    except AgentError as error:
        logger.debug("no progress of %s/%s: %s", job.namespace, job.name, error)
        if ctx.cache.miss(job, str(error)) and job.status.phase is Phase.STARTING:
            ctx.queue.add(job.key)
        return None
    absent = first_absent(pods, state, job.status)
    if absent is not None:
        state = replace(state, waits=await ctx.agents.why_waiting(job, absent))
    if ctx.cache.hear(job, state):
        ctx.queue.add(job.key)
    return state.version


def _allow_files() -> None:
    """Raise the limit of open files, which is 1024 by default: each job is a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
