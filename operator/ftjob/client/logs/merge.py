"""Lines of several logs as one, by their time as far as they are there, and never by waiting long."""

from __future__ import annotations

import collections
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.client.logs.line import LogLine

LIMIT = 5000
"""Lines of one log that wait; then its reader does, and so does the server."""
QUIET_SECONDS = 0.2
"""A log that has brought nothing for so long holds the others up no more."""
OPENING_SECONDS = 1.0
"""The same of one that has just been asked for."""
GATHER_SECONDS = 0.005
"""Between two looks: a log that comes line by line wakes nobody up for each of them."""


class Queue:
    """The lines of one log, in their order."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self.lines: collections.deque[LogLine] = collections.deque()
        self.last = ""
        """When the last of them was written."""
        self.heard = time.monotonic() + OPENING_SECONDS - QUIET_SECONDS
        self.has_ended = False
        self.is_closed = False
        """Whether nobody wants any more."""

    def put(self, lines: list[LogLine]) -> None:
        """Append lines, as soon as there is room."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.lines) < LIMIT or self.is_closed)
            self.lines += lines
            self.last = max(self.last, lines[-1].time)
            self.heard = time.monotonic()
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no more will come."""
        with self._changed:
            self.has_ended = True
            self._changed.notify_all()


class Merge:
    """All logs of a job."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: list[Queue] = []
        self._calls: collections.deque[Callable[[], object]] = collections.deque()

    @property
    def open(self) -> int:
        """How many logs have not ended."""
        with self._changed:
            return sum(not queue.has_ended for queue in self._queues)

    @property
    def is_empty(self) -> bool:
        """Whether all logs have ended, and all of them was taken."""
        with self._changed:
            return not self._calls and all(queue.has_ended and not queue.lines for queue in self._queues)

    def add(self) -> Queue:
        """Return the place for one more log."""
        queue = Queue(self._changed)
        with self._changed:
            self._queues.append(queue)
        return queue

    def tell(self, call: Callable[[], object]) -> None:
        """Have something done where the lines are taken."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def take(self) -> list[LogLine]:
        """Wait for something to come; return the lines, the oldest first. Does what was told."""
        with self._changed:
            if not self._calls and (lines := self._ready()):
                self._changed.notify_all()
                return lines
            if not self._calls:
                has_lines = any(queue.lines for queue in self._queues)
                self._changed.wait(QUIET_SECONDS / 4 if has_lines else None)
            calls, self._calls = self._calls, collections.deque()
        for call in calls:
            call()
        time.sleep(GATHER_SECONDS)
        return []

    def close(self) -> None:
        """Want no more."""
        with self._changed:
            for queue in self._queues:
                queue.is_closed = True
            self._changed.notify_all()

    def _ready(self) -> list[LogLine]:
        """Return the lines that no log will bring an older one than, as far as can be told."""
        now = time.monotonic()
        self._queues = [queue for queue in self._queues if queue.lines or not queue.has_ended]
        waited_for = [q for q in self._queues if not q.has_ended and now - q.heard < QUIET_SECONDS]
        until = min((queue.last for queue in waited_for), default=None)
        found: list[LogLine] = []
        for queue in self._queues:
            lines = queue.lines
            if until is None:
                found += lines
                lines.clear()
                continue
            while lines and lines[0].time <= until:
                found.append(lines.popleft())
        found.sort(key=_time)
        return found


def _time(line: LogLine) -> str:
    return line.time
