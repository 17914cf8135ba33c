"""Asking the agents of index 0 how far their jobs are; nothing depends on an answer."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson

from ftjob.api.status import Phase
from ftjob.plan.layout import agent_port
from ftjob.plan.observed import LeaderReport
from ftjob.plan.token import bearer_token

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.control.context import Context

EVERY_SECONDS = 10.0
PARTS = 20
"""The jobs are asked in so many groups, since all at once is a burst, and one by one wakes us too often."""

AT_ONCE = 32
TIMEOUT_SECONDS = 3.0
MAX_BYTES = 1 << 20

logger = logging.getLogger(__name__)


async def pull_progress(ctx: Context) -> None:
    """Ask all running jobs every ten seconds until cancelled, evenly over that time."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=2 * EVERY_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        asked: set[asyncio.Task[None]] = set()
        while True:
            jobs = [job for job in ctx.cache.jobs() if job.status.phase is Phase.RUNNING and job.is_ours]
            for part in range(PARTS):
                for job in jobs[part::PARTS]:
                    task = asyncio.create_task(ask(job, ctx, session))
                    asked.add(task)
                    task.add_done_callback(asked.discard)
                await asyncio.sleep(EVERY_SECONDS / PARTS)


async def ask(job: Job, ctx: Context, session: aiohttp.ClientSession) -> None:
    """Ask one job's leader; have the job looked at if there is news."""
    pods = ctx.cache.observe(job).pods
    # Rank order over roles, so that index 0 of the job is the first of these.
    leaders = [p for p in pods if p.index == 0 and p.role in {"chief", "worker"} and p.running and p.ip]
    leader = min(leaders, key=lambda p: (p.role != "chief", -p.attempt), default=None)
    if leader is None:
        return
    host = f"[{leader.ip}]" if leader.ip and ":" in leader.ip else leader.ip
    url = f"http://{host}:{agent_port(job.uid)}/v1/progress"
    try:
        report = read_report(await _get(session, url, bearer_token(ctx.config.agent_key, job.uid)))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        logger.debug("no progress from %s: %r", leader.name, error)
        return
    if ctx.cache.hear(job, report):
        ctx.queue.add(job.key)


async def _get(session: aiohttp.ClientSession, url: str, token: str) -> Any:
    """Read JSON from a pod, which may say anything: no redirects, no more than a megabyte."""
    headers = {"Authorization": f"Bearer {token}"}
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        raw = b""
        async for chunk in answer.content.iter_any():
            raw += chunk
            if len(raw) > MAX_BYTES:
                raise ValueError("too long an answer")
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        return orjson.loads(raw)


def read_report(data: Any) -> LeaderReport:
    """Read an agent's answer (docs/agent-protocol.md, section 4).

    Raises
    ------
    ValueError
        It is not such an answer.
    """
    if not isinstance(data, dict) or not isinstance(data.get("attempt"), int):
        raise ValueError("not a report")  # noqa: TRY004  one error for all that an agent can say wrong
    progress = data.get("progress")
    return LeaderReport(
        attempt=data["attempt"],
        state=str(data.get("state", "")),
        progress=_finite(progress) if isinstance(progress, dict) else None,
        captures=tuple(c for c in data.get("captures") or () if isinstance(c, dict)),
        notes=tuple(str(note) for note in data.get("notes") or ()),
        watchdog=str(data.get("watchdog") or ""),
    )


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out numbers that JSON has no word for; one of them would make every patch a 400."""
    return {
        key: _finite(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }
