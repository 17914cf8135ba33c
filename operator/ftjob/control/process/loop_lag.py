"""How long the event loop is held: while it is, no job is served and the Lease is not renewed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 0.05


async def measure_lag(observe: Callable[[float], None]) -> None:
    """Report, until cancelled, by how many seconds later than it should each short pause ends."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        observe(max(0.0, loop.time() - due))
