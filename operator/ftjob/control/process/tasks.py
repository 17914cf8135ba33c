"""The operator's tasks: they run side by side, and when one of them ends, the operator does."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine

FINISH_SECONDS = 2.0
"""How long tasks may take to end. One that is cut short loses nothing: the next operator continues."""

logger = logging.getLogger(__name__)


class Tasks:
    """Tasks by name.

    Parameters
    ----------
    stop
        Set when a task ends, for whatever reason.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[None, None, None], *, ends_by_itself: bool = False) -> None:
        """Start a task.

        Parameters
        ----------
        ends_by_itself
            Whether it ends soon after `stop` is set; the others are cancelled then.
        """
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda _: self._stop.set())
        self._tasks.append(task)
        if not ends_by_itself:
            self._cancelled.append(task)

    async def finish(self) -> None:
        """End all tasks."""
        for task in self._cancelled:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH_SECONDS)

    def raise_error(self) -> None:
        """Raise the error that a task has ended with, if there is one."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                logger.critical("%s has ended", task.get_name())
                task.result()


async def unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do something to its end; return False if `stop` was set before."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return False
    task.result()
    return True
