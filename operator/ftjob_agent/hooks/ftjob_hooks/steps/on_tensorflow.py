"""Count the steps of TensorFlow loops by their optimizers' own counters, and tell when each one is done.

An optimizer's `apply` runs in Python once a step in eager mode, but otherwise only while a `tf.function` is
traced, and in each replica's thread. So `apply` only says which outermost function contains the step; the
return of that function is the tick of the clock; and the counter is read, now and then, to say how many steps
a tick has been.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, List, Optional

from .. import notes
from . import count
from .expected import expect_steps

if TYPE_CHECKING:
    from types import ModuleType

_MARK = "_ftjob_steps"
_CALIBRATE = 4
_SECOND = 1_000_000_000


class _Thread(threading.local):
    outer: Any = None
    applying = False


_thread = _Thread()
_running: List[Any] = []  # outermost functions that run now, in any thread


def hook_function(module: ModuleType) -> None:
    """Wrap the call of every `tf.function`."""
    function_class: Any = module.Function
    original = function_class.__call__

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        thread = _thread
        if thread.outer is not None:
            return original(self, *args, **kwargs)
        thread.outer = self
        _running.append(self)
        try:
            result = original(self, *args, **kwargs)
        finally:
            thread.outer = None
            _running.remove(self)
        for counter in tuple(self.__dict__.get(_MARK, ())):
            _ticked(counter)
        return result

    function_class.__call__ = call
    notes.hooked("tensorflow")


def hook_apply(optimizer_class: Any, method: str) -> None:
    """Wrap the method by which an optimizer changes the variables."""
    original = getattr(optimizer_class, method)

    @functools.wraps(original)
    def apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        thread = _thread
        if thread.applying:
            return original(self, *args, **kwargs)
        thread.applying = True
        try:
            counter = _begin(self)
            result = original(self, *args, **kwargs)
        finally:
            thread.applying = False
        if counter is not None:
            _applied(counter)
        return result

    setattr(optimizer_class, method, apply)


class _Counter:
    """The iterations of one optimizer."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = weakref.ref(optimizer)
        self._variable: Any = None
        self._value = self._told = self._read_while_tracing() or 0
        self._ticks = 0
        self._per_tick = 1
        self._reads = 0
        self._next_read = 0
        if not count.current.fitting and not count.current.step:
            count.current.resume(self._value)

    def read(self) -> Optional[int]:
        """Read the counter itself; None if it can't be read here."""
        optimizer = self.optimizer()
        try:
            if optimizer is not None:
                # Keras divides `iterations` by the steps of gradient accumulation; the script does not.
                variable = getattr(optimizer, "_iterations", None)
                # Kept, since at exit the optimizer can be gone.
                self._variable = optimizer.iterations if variable is None else variable
            return int(self._variable.numpy())
        except Exception:
            return None

    def _read_while_tracing(self) -> Optional[int]:
        from tensorflow.python.framework import ops

        with ops.init_scope():
            return self.read()

    def rebase(self) -> None:
        """Go on from the present number of steps, which others have counted."""
        value = self.read()
        if value is not None:
            self._value, self._ticks, self._told = value, 0, value

    def tick(self) -> None:
        """One more call of what steps has returned."""
        self._ticks += 1
        now = time.time_ns()
        # Reading waits for the device, so only the first few times and then once a second.
        if self._reads < _CALIBRATE or now >= self._next_read:
            self._next_read = now + _SECOND
            if self.calibrate():
                return
        self._tell(self._value + self._ticks * self._per_tick, exact=False)

    def calibrate(self) -> bool:
        """Take over the counter's own value, if it can be read."""
        value = self.read()
        if value is None:
            return False
        self._reads += 1
        gained = value - self._value
        if self._ticks and gained >= 0 and gained % self._ticks == 0:
            self._per_tick = gained // self._ticks
        self._value, self._ticks = value, 0
        self._tell(value, exact=True)
        return True

    def _tell(self, value: int, *, exact: bool) -> None:
        gained, self._told = value - self._told, value
        count.current.stepped(self, "tensorflow", steps=gained, exact=exact)


_counters: List[_Counter] = []
_watcher: Optional[threading.Thread] = None
_watch_ends = threading.Event()


@notes.guarded
def _begin(optimizer: Any) -> Optional[_Counter]:
    """Before an `apply`: give the optimizer's counter."""
    expect_steps()
    now = count.current
    if not now.mine():
        now.seen()
        return None
    for counter in _counters:
        if counter.optimizer() is optimizer:
            return counter
    for gone in [counter for counter in _counters if counter.optimizer() is None]:
        if not now.fitting:
            gone.calibrate()
        _counters.remove(gone)
    _counters.append(_Counter(optimizer))
    return _counters[-1]


@notes.guarded
def _applied(counter: _Counter) -> None:
    from tensorflow.python.eager import context

    replica = getattr(threading.current_thread(), "replica_id", None)  # set in Mirrored's threads
    outer = _thread.outer
    if outer is None and replica is not None and _running:
        outer = _running[-1]
    if outer is not None:
        outer.__dict__.setdefault(_MARK, weakref.WeakSet()).add(counter)
    elif context.executing_eagerly():
        if not replica:
            _ticked(counter)
    else:
        _watch()


@notes.guarded
def _ticked(counter: _Counter) -> None:
    now = count.current
    if now.fitting:
        now.seen()
    elif now.mine():
        counter.tick()


def _watch() -> None:
    """Look at the counter from a thread: the traced step is called by something other than Python."""
    global _watcher
    if _watcher is None and count.current.mine():
        _watcher = threading.Thread(target=_keep_watching, name="ftjob-steps", daemon=True)
        _watcher.start()


def _keep_watching() -> None:
    while not _watch_ends.wait(0.5):
        _look()


@notes.guarded
def fit_ended() -> None:
    """After a Keras `fit`, which counts by itself: let a loop of the script's own go on from there."""
    for counter in _counters:
        counter.rebase()


def read_at_exit() -> None:
    """Have the last word on the number of steps."""
    _watch_ends.set()
    if _watcher is not None:
        _watcher.join(1.0)
    _look()


@notes.guarded
def _look() -> None:
    if not count.current.fitting:
        for counter in tuple(_counters):
            counter.calibrate()


count.at_end(read_at_exit)
