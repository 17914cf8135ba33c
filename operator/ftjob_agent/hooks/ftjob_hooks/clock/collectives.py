"""How long a rank is blocked by collectives: those of torch.distributed, and Horovod's for torch.

Python waits by `Work.wait`, as FSDP2 and `dist.all_reduce` do. DDP's reducer waits in C++, at the end of the
backward pass: from the time on at which it has issued the last collective there is nothing else left to do.
"""

from __future__ import annotations

import atexit
import functools
import weakref
from typing import TYPE_CHECKING, Any, Callable

from .. import notes
from .recorder import current

if TYPE_CHECKING:
    from types import ModuleType

_HOOK = 0x66746A6F62
"""Of a group's hooks, which are known by numbers: one that nobody else is likely to take."""

_groups: weakref.WeakSet[Any] = weakref.WeakSet()
_BLIND = "this version of torch does not say when DDP's collectives begin"


def hook_c10d(module: ModuleType) -> None:
    """Watch the groups that are made, and what Python waits for."""
    c10d: Any = module
    work: Any = c10d.Work
    work.wait = _waiting(work.wait)
    # All ways to make a group end in one of the two, which one depends on torch's version.
    if hasattr(c10d, "_register_process_group"):
        original = c10d._register_process_group

        @functools.wraps(original)
        def register(name: Any, group: Any) -> Any:
            _watch_group(group)
            return original(name, group)

        c10d._register_process_group = register
        atexit.register(_leave_groups, c10d)


def hook_distributed(module: ModuleType) -> None:
    """Watch what DDP and others send tensors by in one go, and wait for in C++."""
    distributed: Any = module
    if hasattr(distributed, "_broadcast_coalesced"):
        distributed._broadcast_coalesced = _waiting(distributed._broadcast_coalesced)


def hook_ddp(module: ModuleType) -> None:
    """Watch the backward passes of programs that use DDP."""
    ddp: Any = module.DistributedDataParallel
    original = ddp.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _watch_backward()

    ddp.__init__ = init


def hook_horovod(module: ModuleType) -> None:
    """Watch what all of Horovod's operations for torch wait by; its optimizer takes it from here, later."""
    horovod: Any = module
    horovod.synchronize = _waiting(horovod.synchronize)


def _waiting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wait(*args: Any, **kwargs: Any) -> Any:
        began = current.wait_begins()
        try:
            return original(*args, **kwargs)
        finally:
            current.wait_ends(began)

    # As for the original, which is not Python's, torch.compile leaves it alone.
    wait._torchdynamo_disable = True  # type: ignore[attr-defined]
    return wait


@notes.guarded
def _watch_group(group: Any) -> None:
    if hasattr(group, "register_pre_hook"):
        _groups.add(group)
        group.register_pre_hook(_HOOK, _before_collective)


@notes.guarded
def _leave_groups(c10d: Any) -> None:
    """Take the hooks back while there is an interpreter: groups that nobody destroys outlive it.

    What is registered in a group is Python's, and to free it without the interpreter is a SIGSEGV.
    """
    for group in {*c10d._world.pg_map, *_groups}:
        if hasattr(group, "unregister_pre_hook"):
            group.unregister_pre_hook(_HOOK)


def _before_collective(_arguments: Any) -> None:
    # What is raised here would end the training.
    try:
        current.arrives()
    except Exception as error:
        notes.note(f"a collective was not seen: {error!r}")


@notes.guarded
def _watch_backward() -> None:
    """Have the engine's one entrance watched, from the first DDP on."""
    from torch import autograd
    from torch._C._distributed_c10d import ProcessGroup

    name, module = "_engine_run_backward", vars(autograd)
    if not hasattr(ProcessGroup, "register_pre_hook") or name not in module:
        current.blind = _BLIND
        return
    original = module[name]
    if hasattr(original, "_ftjob_original"):
        return

    @functools.wraps(original)
    def run_backward(*args: Any, **kwargs: Any) -> Any:
        is_ours = current.backward_begins()
        try:
            return original(*args, **kwargs)
        finally:
            current.backward_ends(is_ours)

    run_backward._ftjob_original = original  # type: ignore[attr-defined]
    module[name] = run_backward
