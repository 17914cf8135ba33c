"""The end of the process, also where a part of it does not want to end."""

from __future__ import annotations

import logging
import os
import threading

logger = logging.getLogger(__name__)


def end_in(seconds: float) -> None:
    """Have the process end after so many seconds, unless it has ended by itself.

    A task that swallows its cancellation, as some of kopf's do in its own shutdown (1.45.2), would keep it
    for ever.
    """

    def end() -> None:
        logger.critical("some part did not end; ending the process")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
