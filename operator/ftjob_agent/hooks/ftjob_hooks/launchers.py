"""Stop a launcher that each of a worker's ranks would start: a script file or a variable may hide it.

The plan's rules see a launcher that stands in the command. Here it is found when it begins to launch.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

from . import failure
from .protocol import variables, whole

if TYPE_CHECKING:
    from types import ModuleType


def hook_torchrun(module: ModuleType) -> None:
    """Look at torchrun, and at what starts it by its API, as accelerate does."""
    original = module.launch_agent

    @functools.wraps(original)
    def launch_agent(config: Any, *args: Any, **kwargs: Any) -> Any:
        _look("torchrun")
        workers = whole(os.environ.get("PET_NNODES", "")) or 1
        if _is_the_rank() and getattr(config, "max_nodes", 0) == 1 and workers > 1:
            sys.stderr.write(
                f"ftjob: this launcher knows of 1 of {workers} workers, so each trains without the others; "
                "leave out --standalone and --nnodes, or start the program itself\n"
            )
        return original(config, *args, **kwargs)

    setattr(module, "launch_agent", launch_agent)  # noqa: B010  a name that the type checker does not know


def hook_deepspeed(module: ModuleType) -> None:
    """Look at `deepspeed`."""
    _look_before(module, "main", "deepspeed")


def hook_horovodrun(module: ModuleType) -> None:
    """Look at `horovodrun` and `horovod.run`."""
    _look_before(module, "_run", "horovodrun")


def _look_before(module: ModuleType, name: str, launcher: str) -> None:
    original = getattr(module, name)

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        _look(launcher)
        return original(*args, **kwargs)

    setattr(module, name, run)


def _look(launcher: str) -> None:
    """End the process if it is the rank itself, and has ranks beside it that do the same."""
    count = whole(os.environ.get(variables.LOCAL_WORLD_SIZE, "")) or 1
    if _is_the_rank() and count > 1:
        sys.exit(
            f"ftjob: {launcher} was started in each of the {count} ranks of a worker, and each would start "
            f"several more; ftjob starts the ranks itself, as {launcher} would: start the program itself, or "
            "set processesPerWorker: 1 in the job's spec"
        )


def _is_the_rank() -> bool:
    """Whether no other Python process of the rank has started this one, to evaluate a checkpoint, say."""
    return os.environ.get(failure.MAIN_PID) == str(os.getpid())
