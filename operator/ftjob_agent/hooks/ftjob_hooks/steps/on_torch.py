"""Count the steps of torch optimizers, Horovod's among them."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Callable

from .. import notes
from . import count

if TYPE_CHECKING:
    from types import ModuleType


class _Depth(threading.local):
    value = 0


_depth = _Depth()


def hook_optimizer(module: ModuleType) -> None:
    """Wrap the wrapper that torch puts around every optimizer's `step`.

    Not `register_optimizer_step_post_hook`: that hook is not called when the step raises, and it fires once
    for each class that has a `step` of its own (Horovod's calls its base's).
    """
    optimizer_class: Any = module.Optimizer
    original = optimizer_class.profile_hook_step

    @functools.wraps(original)
    def profile_hook_step(step: Callable[..., Any]) -> Callable[..., Any]:
        return _counted(original(step))

    optimizer_class.profile_hook_step = staticmethod(profile_hook_step)
    notes.hooked("torch")


def _counted(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        _depth.value += 1
        try:
            result = step(self, *args, **kwargs)
        finally:
            _depth.value -= 1
        if not _depth.value:
            _stepped(self)
        return result

    return wrapper


@notes.guarded
def _stepped(optimizer: Any) -> None:
    now = count.current
    if not now.fitting and now.follows(optimizer) and now.mine():
        now.record(now.step + 1, "torch", exact=False)
