"""Where measuring begins: in the process that trains, and for programs on JAX in the rank's first one."""

from __future__ import annotations

import atexit
import os
import time
from typing import TYPE_CHECKING

from .. import notes, process
from ..protocol import files, variables
from . import sampler, ticker
from .recorder import current
from .ring import Ring

if TYPE_CHECKING:
    from types import ModuleType


def is_wanted() -> bool:
    """Whether the job has its steps measured."""
    return os.environ.get(variables.CLOCK) == "1"


@notes.guarded
def begin() -> None:
    """Measure the steps of this process, which has just become the one that trains."""
    if is_wanted():
        _sample()
        wall_ns = time.time_ns()
        path = os.path.join(os.environ[variables.RANK_DIR], files.CLOCK)
        current.begin(Ring(path, wall_ns), wall_ns - time.monotonic_ns())


@notes.guarded
def hook_jax(_module: ModuleType) -> None:
    """Look at the lines of a program on JAX, whose steps the hooks don't see."""
    if process.speaks():
        _sample()


def _sample() -> None:
    ticker.at_tick(sampler.tick)
    ticker.start()
    atexit.unregister(_end)
    atexit.register(_end, os.getpid())


@notes.guarded
def _end(pid: int) -> None:
    if pid == os.getpid():
        ticker.stop()
        sampler.write()
