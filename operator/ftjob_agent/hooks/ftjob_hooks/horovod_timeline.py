"""Horovod's timeline: what its coordinator, rank 0, saw of all ranks."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Optional

from . import notes

_FILE = "horovod_timeline.json"
# Each framework's module has a library and a state of its own; one of them is in use.
_MODULES = ("horovod.torch", "horovod.tensorflow")
_PATIENCE = 5.0


class Timeline:
    """A timeline that has been started."""

    def __init__(self, hvd: Any, path: str) -> None:
        self._hvd = hvd
        self._path = path

    def stop(self) -> None:
        """Ask Horovod to end the file; its own thread does so a little later."""
        self._hvd.stop_timeline()

    def wait(self) -> None:
        """Wait until the file is complete; without it say so."""
        end = time.monotonic() + _PATIENCE
        size = -1
        while time.monotonic() < end:
            now = os.path.getsize(self._path) if os.path.exists(self._path) else -1
            if now > 0 and now == size:
                return
            size = now
            time.sleep(0.1)
        notes.note("Horovod wrote no timeline: is HOROVOD_TIMELINE set in the script or image?")


def start(folder: str) -> Optional[Timeline]:
    """Start the timeline, on rank 0 only."""
    for name in _MODULES:
        hvd = sys.modules.get(name)
        if hvd is not None and hvd.is_initialized():
            path = os.path.join(folder, _FILE)
            hvd.start_timeline(path)
            return Timeline(hvd, path)
    notes.note("no Horovod timeline: Horovod is not initialized in this process")
    return None
