"""Count the batches of Keras' `fit`, of Keras 3 and tf_keras; learn total steps, epochs and metrics."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Callable

from .. import notes
from . import count, on_tensorflow, on_torch
from .expected import expect_steps

if TYPE_CHECKING:
    from types import ModuleType


def hook_optimizer(module: ModuleType) -> None:
    """Watch Keras 3's optimizers, if their loops run on TensorFlow or torch."""
    if _backend() == "tensorflow":
        on_tensorflow.hook_apply(module.BaseOptimizer, "apply")
    elif _backend() == "torch":
        on_torch.hook_step(module.BaseOptimizer, "apply")


def hook_tf_keras_optimizer(module: ModuleType) -> None:
    """Watch tf_keras' optimizers."""
    on_tensorflow.hook_apply(module.Optimizer, "apply_gradients")


def hook_tf_keras_legacy_optimizer(module: ModuleType) -> None:
    """Watch tf_keras' old optimizers."""
    on_tensorflow.hook_apply(module.OptimizerV2, "apply_gradients")


def hook_callbacks(module: ModuleType) -> None:
    """Watch the list of callbacks that every trainer calls.

    The list, not a callback in it: a callback that wants every batch would take away Keras' right to dispatch
    the others from a thread.
    """
    callbacks: Any = module.CallbackList
    for name, hook in (
        ("on_train_begin", _train_begin),
        ("on_epoch_begin", _epoch_begin),
        ("on_train_batch_end", _batch_end),
        ("on_epoch_end", _epoch_end),
        ("on_train_end", _train_end),
    ):
        setattr(callbacks, name, _after(getattr(callbacks, name), hook))
    notes.hooked(module.__name__.partition(".")[0])


def _after(method: Callable[..., Any], hook: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        hook(self, *args, **kwargs)
        return result

    return call


class _Fit:
    """One call of `fit`."""

    def __init__(self, params: Any) -> None:
        params = params or {}
        self.epochs = params.get("epochs") or 0
        self.steps = params.get("steps") or 0
        self.base = count.current.step  # steps before the first epoch of this fit
        self.epoch = -1
        self.epoch_start = self.base

    def begin_epoch(self, epoch: int) -> None:
        now = count.current
        if self.epoch < 0 and epoch and self.steps:
            # `initial_epoch`: the same fit goes on, in this process or from a checkpoint.
            now.resume(epoch * self.steps)
            self.base = max(0, now.step - epoch * self.steps)
        self.epoch = epoch
        self.epoch_start = now.step

    def end_batch(self, batch: int) -> None:
        done = batch + 1  # the last one, where `steps_per_execution` makes one call of several
        if self.steps:
            done = min(done, self.steps)
        count.current.record(self.epoch_start + done, _framework(), exact=True)
        self._look_out(done)

    def end_epoch(self) -> None:
        done = count.current.step - self.epoch_start
        self.steps = self.steps or done  # an unknown length is known after one epoch
        self._look_out(done)

    def _look_out(self, done: int) -> None:
        total = self.base + self.epochs * self.steps
        epoch = max(0, self.epoch) + (done / self.steps if self.steps else 0.0)
        count.current.outlook(total if self.steps else 0, epoch)


_fit = _Fit(None)


@notes.guarded
def _train_begin(callbacks: Any, *_args: Any, **_kwargs: Any) -> None:
    global _fit
    expect_steps()
    if count.current.mine():
        _fit = _Fit(getattr(callbacks, "params", None))
        count.current.fitting = True


@notes.guarded
def _epoch_begin(_callbacks: Any, epoch: int, *_args: Any, **_kwargs: Any) -> None:
    if count.current.fitting:
        _fit.begin_epoch(int(epoch))


@notes.guarded
def _batch_end(_callbacks: Any, batch: int, logs: Any = None) -> None:
    if count.current.fitting:
        _fit.end_batch(int(batch))
        if isinstance(logs, dict):
            count.current.metrics(logs)


@notes.guarded
def _epoch_end(_callbacks: Any, _epoch: int, logs: Any = None) -> None:
    if count.current.fitting:
        _fit.end_epoch()
        if isinstance(logs, dict):
            count.current.metrics(logs)


@notes.guarded
def _train_end(*_args: Any, **_kwargs: Any) -> None:
    if count.current.fitting:
        count.current.fitting = False
        count.current.flush()
        on_tensorflow.fit_ended()


def _backend() -> str:
    config = sys.modules.get("keras.src.backend.config")
    return config.backend() if config is not None else "tensorflow"


def _framework() -> str:
    return _backend() if "keras.src.backend.config" in sys.modules else "tensorflow"
