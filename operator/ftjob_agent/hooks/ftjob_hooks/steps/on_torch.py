"""Count the steps of torch optimizers, Horovod's among them."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Callable

from .. import notes
from . import count
from .expected import expect_steps

if TYPE_CHECKING:
    from types import ModuleType


class _Calls(threading.local):
    depth = 0
    counted = True  # whether what steps now does so for the program, and not to fill an optimizer's state
    inner = False  # whether a step was made within another one


_calls = _Calls()


def hook_optimizer(module: ModuleType) -> None:
    """Wrap the wrapper that torch puts around every optimizer's `step`.

    Not `register_optimizer_step_post_hook`: that hook is not called when the step raises, and it fires once
    for each class that has a `step` of its own (Horovod's calls its base's).
    """
    optimizer_class: Any = module.Optimizer
    original = optimizer_class.profile_hook_step

    @functools.wraps(original)
    def profile_hook_step(step: Callable[..., Any]) -> Callable[..., Any]:
        expect_steps()
        return _counted(original(step))

    optimizer_class.profile_hook_step = staticmethod(profile_hook_step)
    notes.hooked("torch")


def hook_step(owner: Any, method: str) -> None:
    """Wrap a method that is a step of whatever it belongs to."""
    setattr(owner, method, _counted(getattr(owner, method)))


def hook_deepspeed(module: ModuleType) -> None:
    """Wrap the step of DeepSpeed's engine: for one of it ZeRO calls the optimizer once for each group."""
    engine: Any = module.DeepSpeedEngine
    _uncounted(engine, "__init__")  # ZeRO fills the optimizer's state there
    original = engine._take_model_step

    @functools.wraps(original)
    def take_model_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        outer, _calls.inner = _calls.inner, False
        _calls.depth += 1
        try:
            result = original(self, *args, **kwargs)
        finally:
            _calls.depth -= 1
            has_stepped, _calls.inner = _calls.inner, outer
        if has_stepped:
            _stepped(self)
        return result

    engine._take_model_step = take_model_step


def hook_horovod(module: ModuleType) -> None:
    """Wrap what fills an optimizer's state by a step without a gradient."""
    _uncounted(module, "broadcast_optimizer_state")


def hook_checkpoint(module: ModuleType) -> None:
    """Wrap what fills an optimizer's state by a step without a gradient."""
    _uncounted(module, "_init_optim_state")


def hook_scaler(module: ModuleType) -> None:
    """Wrap the step of gradient scaling, which calls no optimizer while the gradients overflow."""
    scaler: Any = module.GradScaler
    original = scaler.step

    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        _seen()
        return result

    scaler.step = step


def _counted(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        _calls.depth += 1
        try:
            result = step(self, *args, **kwargs)
        finally:
            _calls.depth -= 1
        if _calls.depth:
            _calls.inner = True
        elif _calls.counted:
            _stepped(self)
        return result

    return wrapper


def _uncounted(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        before, _calls.counted = _calls.counted, False
        try:
            return original(*args, **kwargs)
        finally:
            _calls.counted = before

    setattr(owner, name, wrapper)


@notes.guarded
def _stepped(optimizer: Any) -> None:
    count.current.stepped(optimizer, "torch")


@notes.guarded
def _seen() -> None:
    count.current.seen()
