"""Count the steps of TensorFlow loops by their optimizer's own counter, and tell when each one is done.

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
        if _MARK in self.__dict__:
            _ticked(self.__dict__[_MARK]())
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
            before = _begin(self)
            result = original(self, *args, **kwargs)
        finally:
            thread.applying = False
        if before is not None:
            _applied(self)
        return result

    setattr(optimizer_class, method, apply)


class _Counter:
    """The iterations of the optimizer that is followed."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = weakref.ref(optimizer)
        self._variable: Any = None
        self._value = self._read_while_tracing() or 0
        self._ticks = 0
        self._per_tick = 1
        self._reads = 0
        self._next_read = 0
        # What to add to the iterations to get the script's steps: none, even if a checkpoint was loaded,
        # unless others have counted before.
        self._base = 0
        now = count.current
        if now.step:
            self._base = now.step - self._value
        elif not now.fitting:
            now.resume(self._value)

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
            self._value, self._ticks = value, 0
            self._base = count.current.step - value

    def tick(self) -> None:
        """One more call of what steps has returned."""
        self._ticks += 1
        now = time.time_ns()
        # Reading waits for the device, so only the first few times and then once a second.
        if self._reads < _CALIBRATE or now >= self._next_read:
            self._next_read = now + _SECOND
            if self.calibrate():
                return
        value = self._value + self._ticks * self._per_tick
        count.current.record(self._base + value, "tensorflow", exact=False)

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
        count.current.record(self._base + value, "tensorflow", exact=True)
        return True


_counter: Optional[_Counter] = None
_watcher: Optional[threading.Thread] = None
_watch_ends = threading.Event()


@notes.guarded
def _begin(optimizer: Any) -> Optional[_Counter]:
    """Before an `apply`: the counter, if this is the optimizer that counts."""
    global _counter
    now = count.current
    if not now.follows(optimizer) or not now.mine():
        return None
    if _counter is None or _counter.optimizer() is not optimizer:
        _counter = _Counter(optimizer)
    return _counter


@notes.guarded
def _applied(optimizer: Any) -> None:
    from tensorflow.python.eager import context

    replica = getattr(threading.current_thread(), "replica_id", None)  # set in Mirrored's threads
    outer = _thread.outer
    if outer is None and replica is not None and _running:
        outer = _running[-1]
    if outer is not None:
        setattr(outer, _MARK, weakref.ref(optimizer))
    elif context.executing_eagerly():
        if not replica:
            _ticked(optimizer)
    else:
        _watch()


@notes.guarded
def _ticked(optimizer: Any) -> None:
    now = count.current
    if _counter is not None and _counter.optimizer() is optimizer and not now.fitting and now.mine():
        _counter.tick()


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
    if _counter is not None:
        _counter.rebase()


def read_at_exit() -> None:
    """Have the last word on the number of steps."""
    _watch_ends.set()
    if _watcher is not None:
        _watcher.join(1.0)
    _look()


@notes.guarded
def _look() -> None:
    now = count.current
    if _counter is not None and not now.fitting and now.followed() in (None, _counter.optimizer()):
        _counter.calibrate()


count.at_end(read_at_exit)
