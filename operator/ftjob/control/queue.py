"""The queue of jobs to look at: each key at most once, one reconciler a key, later looks in a heap."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Key = tuple[str, str]
"""Namespace and name of a job."""

BACKOFF_FIRST = 0.1
BACKOFF_MAX = 60.0


class Queue:
    """A deduplicating queue.

    A key that is added while it waits is there once; one that is added while a reconciler has it comes
    again when that one is done, so that no two reconcilers ever have the same key.

    Parameters
    ----------
    clock
        Seconds that only go forward.
    jitter
        Returns a factor for each backoff, so that jobs which failed together don't come back together.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.25),  # noqa: S311  not a secret
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ready: deque[Key] = deque()
        self._waiting: dict[Key, float] = {}
        self._active: dict[Key, float] = {}
        self._again: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Key) -> None:
        """Have the key looked at as soon as a reconciler is free."""
        now = self._clock()
        if key in self._active:
            self._again.setdefault(key, now)
        elif key not in self._waiting:
            self._waiting[key] = now
            self._ready.append(key)
            self._wake()

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key looked at in so many seconds, or earlier if that was already wanted."""
        due = self._clock() + max(0.0, seconds)
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            if self._heap[0] == (due, key):
                self._set_timer()

    def back_off(self, key: Key) -> float:
        """Have a key that failed looked at later, each time twice as late; return the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(failures, 20)) * self._jitter()
        self.add_after(key, seconds)
        return seconds

    def failures(self, key: Key) -> int:
        """Return how often in a row a look at this key has failed."""
        return self._failures.get(key, 0)

    def forget_failures(self, key: Key) -> None:
        """Start the backoff of this key from the beginning."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Return the key that has waited longest; the caller calls `done` afterwards."""
        while True:
            self.move_due()
            if self._ready:
                return self._take()
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                getter.cancel()
                if getter in self._getters:
                    self._getters.remove(getter)
                if self._ready and not getter.cancelled():
                    self._wake()  # this reconciler was woken, but goes away
                raise

    def done(self, key: Key) -> None:
        """Give the key back after a look at it."""
        self._active.pop(key, None)
        since = self._again.pop(key, None)
        if since is not None and key not in self._waiting:
            self._waiting[key] = since
            self._ready.append(key)
            self._wake()

    def move_due(self) -> None:
        """Make keys ready whose time has come."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._set_timer()

    @property
    def depth(self) -> int:
        """Number of keys that wait for a reconciler."""
        return len(self._waiting) + len(self._again)

    def oldest_age(self) -> float:
        """Seconds that the oldest key has waited for a reconciler, or that the slowest look has taken."""
        times = [*self._waiting.values(), *self._active.values()]
        return max(0.0, self._clock() - min(times)) if times else 0.0

    def _take(self) -> Key:
        key = self._ready.popleft()
        del self._waiting[key]
        self._active[key] = self._clock()
        # A later look was planned from an older state of the job than the one that is looked at now.
        self._due.pop(key, None)
        return key

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        """Arrange to be called for the earliest key of the heap; none without a running loop (in tests)."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._timer = loop.call_later(max(0.0, self._heap[0][0] - self._clock()), self.move_due)
