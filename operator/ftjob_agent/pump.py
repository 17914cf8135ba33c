"""Passing a rank's output on, unchanged, and keeping its end."""

from __future__ import annotations

import os
import select
import threading
from typing import Optional

TAIL = 16 * 1024
CHUNK = 64 * 1024


class RankLog:
    """``<outputs>/logs/rank-00003.log``; whole lines of both streams in the order in which they came."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self.error = ""

    def write(self, data: bytes) -> None:
        """Append; a full volume costs the log, never the rank."""
        try:
            while data and not self.error:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.error = f"the log was cut: {error.strerror}"


class Pump(threading.Thread):
    """Reads one stream of a rank until its end.

    It reads no faster than the agent's own stream takes it: a rank that writes a gigabyte waits as it would
    without the agent, and memory stays bounded.
    """

    def __init__(self, source: int, sink: int, log: Optional[RankLog]) -> None:
        super().__init__(name=f"ftjob-pump-{source}", daemon=True)
        self._source, self._sink, self._log = source, sink, log
        self._line = b""
        self._tail = b""

    @property
    def tail(self) -> str:
        """The last that came."""
        return self._tail.decode("utf-8", "replace")

    def run(self) -> None:
        """Pass on what comes."""
        while True:
            try:
                data = os.read(self._source, CHUNK)
            except OSError:
                data = b""
            if not data:
                break
            self._tail = data[-TAIL:] if len(data) >= TAIL else (self._tail + data)[-TAIL:]
            self._pass_on(data)
            if self._log is not None:
                self._write_log(self._log, data)
        if self._log is not None:
            self._log.write(self._line)
        os.close(self._source)

    def _pass_on(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._sink, view) :]
            except BlockingIOError:
                select.select([], [self._sink], [])  # someone made our own stream non-blocking
            except OSError:
                return  # nobody reads us any more; the rank must not notice

    def _write_log(self, log: RankLog, data: bytes) -> None:
        lines, newline, rest = data.rpartition(b"\n")
        if newline or len(self._line) + len(rest) > CHUNK:
            log.write(self._line + lines + newline)
            self._line = b""
        self._line += rest
