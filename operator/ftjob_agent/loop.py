"""The agent's one event loop: file descriptors, timers, signals, and calls posted by threads.

Everything that decides runs here, in the main thread, so nothing needs a lock. Threads do only what can
block: passing on output, talking to the leader, and writing to the outputs volume.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import os
import selectors
import signal
import time
from typing import Any, Callable, Iterable, Optional

Call = Callable[[], None]


class Timer:
    """A call to come, which can be cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call: Optional[Call] = call

    def cancel(self) -> None:
        """Make sure that the call does not happen."""
        self.call = None


class Loop:
    """Waits for whatever comes first."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._posts: collections.deque[Call] = collections.deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)

    def on_signals(self, numbers: Iterable[int], call: Callable[[int], None]) -> None:
        """Let `call` be made in the loop for each of these signals."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda received, _frame: self._posts.append(lambda: call(received)))

    def post(self, call: Call) -> None:
        """Let `call` be made in the loop; from any thread."""
        self._posts.append(call)
        try:
            os.write(self._wake, b"\0")
        except BlockingIOError:
            pass  # the pipe is full of reasons to wake up already

    def call_at(self, when: float, call: Call) -> Timer:
        """Let `call` be made at a time of the monotonic clock."""
        timer = Timer(call)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def watch(self, file: Any, events: int, call: Callable[[int], None]) -> None:
        """Let `call` be made with the events of `file`; no events: stop watching."""
        known = file in self._selector.get_map()
        if events and known:
            self._selector.modify(file, events, call)
        elif events:
            self._selector.register(file, events, call)
        elif known:
            self._selector.unregister(file)

    def wait(self, until: Optional[float] = None) -> None:
        """Make the calls that are due; wait for the first of them, at most until this monotonic time."""
        limits = [self._timers[0][0]] if self._timers else []
        limits += [until] if until is not None else []
        timeout = max(0.0, min(limits) - time.monotonic()) if limits else None
        for key, events in self._selector.select(0 if self._posts else timeout):
            key.data(events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            call = heapq.heappop(self._timers)[2].call
            if call is not None:
                call()
        for _ in range(len(self._posts)):
            self._posts.popleft()()

    def _drain(self, _events: int) -> None:
        try:
            os.read(self._woken, 4096)
        except BlockingIOError:
            pass
