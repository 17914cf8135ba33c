"""kopf hosts the watch of jobs: each event goes into the cache and the job's key into the queue, no more."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any

import kopf

from ftjob.control.credentials import connection_info
from ftjob.control.watching.kopf_tap import Tap, tapped_session
from ftjob.kube.http import SILENCE_SECONDS
from ftjob.kube.resources import JOB

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.control.watching.feed import Take
    from ftjob.control.watching.signs import Signs

logger = logging.getLogger(__name__)


async def watch_jobs(
    take: Take,
    *,
    namespaces: tuple[str, ...],
    signs: Signs,
    relisted: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Watch jobs until `stop` is set; it is set when any part of kopf ends, too.

    Parameters
    ----------
    namespaces
        Those to serve; nothing for all.
    relisted
        Called after each list, of which nothing is taken.
    """
    ignored = asyncio.all_tasks()
    # For kopf's peering, which is off; left alone, kopf asks for the user's name, and UID 65532 has none.
    identity: Any = "ftjob-operator"
    tasks = await kopf.spawn_tasks(
        registry=_registry(take, signs, relisted),
        settings=_settings(),
        clusterwide=not namespaces,
        namespaces=namespaces,
        standalone=True,
        identity=identity,
        stop_flag=stop,
    )
    stop_on_signals(stop)  # kopf has just taken them
    broken = False

    def ended(_: object) -> None:
        nonlocal broken
        broken = broken or not stop.is_set()
        stop.set()

    for task in tasks:  # of those that one of them takes with it, some may never end (kopf 1.45.2)
        task.add_done_callback(ended)
    try:
        await kopf.run_tasks(tasks, ignored=ignored)
    except Exception as error:
        if broken:
            raise
        # Told to stop, kopf closes the connections of its own requests, and raises what becomes of them.
        logger.info("kopf was stopped at work: %s", error)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at SIGTERM or SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _registry(take: Take, signs: Signs, relisted: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return kopf's registry: how to log in, and what to watch."""
    found = kopf.OperatorRegistry()

    tap = Tap(JOB, take, signs=signs, listed=relisted)

    @kopf.on.login(registry=found)
    async def login(**_: Any) -> kopf.AiohttpSession:
        info = connection_info()
        return kopf.AiohttpSession(
            server=info.server,
            default_namespace=info.default_namespace,
            aiohttp_session=tapped_session(info, tap),
        )

    @kopf.on.event(JOB.group, JOB.version, JOB.plural, registry=found, id=JOB.plural)
    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        take(JOB, event["type"], event["object"])  # what has passed the tap

    return found


def _settings() -> kopf.OperatorSettings:
    """Return kopf's settings: a host of a watch that writes nothing, and waits where we tell it to."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.peering.standalone = True
    found.scanning.disabled = True
    found.execution.max_workers = 1
    found.networking.error_backoffs = ()
    found.networking.request_timeout = 30.0
    found.watching.chunk_size = 500
    found.watching.inactivity_timeout = SILENCE_SECONDS
    return found
