"""A thread that looks at things some twenty times a second, beside the one that trains."""

from __future__ import annotations

import _thread
import os
from typing import Callable, List, Optional, Tuple

from .. import notes

PERIOD = 0.05
"""Seconds between two ticks, on average."""
_PATIENCE = 1.0

_calls: List[Callable[[], None]] = []
_running: Optional[Tuple[_thread.LockType, _thread.LockType, List[int]]] = None
"""What ends the thread when it is released, what the thread releases at its end, and its identity."""
_interrupted = False


def at_tick(call: Callable[[], None]) -> None:
    """Have something called at each tick, in the thread of the ticks. If it raises that becomes a note."""
    if call not in _calls:
        _calls.append(call)


def start() -> None:
    """Start to tick, if this process does not yet.

    Not by `threading`: programs wait for all threads of `threading.enumerate`, and this one never ends.
    """
    global _running
    if _running is None:
        wake, ended = _thread.allocate_lock(), _thread.allocate_lock()
        wake.acquire()
        ended.acquire()
        identity: List[int] = []
        _running = wake, ended, identity
        _thread.start_new_thread(_run, (wake, ended, identity))


def stop() -> None:
    """Tick no more; returns once the thread is at rest."""
    global _running
    if _running is not None and _thread.get_ident() not in _running[2]:
        (wake, ended, _), _running = _running, None
        wake.release()
        ended.acquire(timeout=_PATIENCE)


def _run(wake: _thread.LockType, ended: _thread.LockType, identity: List[int]) -> None:
    identity.append(_thread.get_ident())
    try:
        chance = identity[0] & 0x7FFFFFFF
        while True:
            # Irregular, so that it is not in step with a training of as many steps a second. Not by `random`,
            # whose state is the script's.
            chance = (chance * 1103515245 + 12345) & 0x7FFFFFFF
            if wake.acquire(timeout=PERIOD * (0.5 + chance / 0x7FFFFFFF)):
                return
            for call in tuple(_calls):
                _guarded(call)
    finally:
        ended.release()


def _guarded(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:
        notes.note(f"{getattr(call, '__qualname__', call)}: {error!r}")


def _before_fork() -> None:
    # A fork copies locks that another thread holds, and Python warns of it where there is another thread.
    global _interrupted
    _interrupted = _running is not None
    stop()


def _after_in_parent() -> None:
    if _interrupted:
        start()


def _after_in_child() -> None:
    global _running
    _running = None
    _calls.clear()  # they look at what is the parent's


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
