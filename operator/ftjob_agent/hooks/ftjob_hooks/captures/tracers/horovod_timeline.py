"""Horovod's timeline: what its coordinator, rank 0, saw of all ranks."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Optional

from ... import notes

_FILE = "horovod_timeline.json"
# Each framework's module has a library and a state of its own; one of them is in use.
_MODULES = ("horovod.torch", "horovod.tensorflow")
_PATIENCE = 5.0


class Timeline:
    """A timeline that has been started."""

    def __init__(self, hvd: Any, path: str) -> None:
        self._hvd = hvd
        self._path = path

    @notes.guarded
    def stop(self) -> None:
        """Ask Horovod to end the file; its own thread does so a little later."""
        if self._hvd.is_initialized():
            self._hvd.stop_timeline()

    def wait(self) -> None:
        """Wait until the file is complete; say so if it never is."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if _is_complete(self._path):
                return
            time.sleep(0.05)
        notes.note(
            "Horovod's timeline is missing or cut off: is HOROVOD_TIMELINE set in the script or the image?"
        )


def _is_complete(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"]"
    except OSError:  # not there, or empty
        return False


def start(folder: str) -> Optional[Timeline]:
    """Start the timeline, on rank 0 only, where Horovod was told of one and the program writes none."""
    told = os.environ.get("HOROVOD_TIMELINE")
    if told is None:
        notes.note(
            "captures have no Horovod timeline: for one, set HOROVOD_TIMELINE=DYNAMIC in the container's "
            "env, which keeps a core of rank 0 busy"
        )
        return None
    if told != "DYNAMIC":
        notes.note(f"captures have no Horovod timeline: the program writes its own to {told}")
        return None
    for name in _MODULES:
        hvd = sys.modules.get(name)
        if hvd is not None and hvd.is_initialized():
            path = os.path.join(folder, _FILE)
            hvd.start_timeline(path)
            return Timeline(hvd, path)
    notes.note("no Horovod timeline: Horovod is not initialized in this process")
    return None
