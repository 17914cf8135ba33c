"""Passing a rank's output on, and keeping it as it is: its end in memory, all of it in a file."""

from __future__ import annotations

import collections
import os
import select
import threading
import time
from typing import Optional, Protocol

from ftjob_protocol.values.marks import marked

TAIL = 16 * 1024
CHUNK = 64 * 1024
BATCH_SECONDS = 0.001
"""After a read that did not fill its buffer: a rank that writes line by line costs a thousand reads a second,
not one for each line."""
HOLD_MILLISECONDS = 50
"""How long a line without its end is kept back, so that lines of several streams do not mix."""
MARKED_HOLD_MILLISECONDS = 2000
"""The same where lines are marked. What goes out then becomes a line: a progress bar should not make many."""
BUFFER = 8 * 1024 * 1024
PATIENCE_SECONDS = 1.0
"""A volume that has not taken anything for so long hangs: from then on the rank does not wait for it."""
WRITE = 1024 * 1024
WRITE_SECONDS = 0.05
"""Between two writes of less than that: a shared volume is spared a thousand small ones a second."""

_SINKS = {1: threading.Lock(), 2: threading.Lock()}


class LogFile(Protocol):
    """What a log is written to; OSError where that fails."""

    @property
    def is_new(self) -> bool:
        """Whether nothing is in it yet."""

    def open(self) -> None:
        """Get ready."""

    def write(self, lines: bytes) -> None:
        """Append lines."""

    def close(self) -> None:
        """Write no more."""


class RankLog:
    """What a rank has said: whole lines of both streams in the order in which they came.

    Parameters
    ----------
    file
        Gets all of it, after what an earlier attempt has left there; None keeps only the end.
    heading
        A line that parts this attempt from an earlier one in the same file.
    """

    def __init__(self, file: Optional[LogFile], heading: str = "") -> None:
        self._file, self._heading = file, heading
        self._changed = threading.Condition()
        self._chunks: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._dropped = 0
        self._is_stalled = False
        self._streams = 0
        self._ended = threading.Event()
        self._end = b""
        self.error = ""
        self._writer: Optional[threading.Thread] = None

    @property
    def tail(self) -> bytes:
        """The last whole lines; the first of them may be cut."""
        return self._end

    def open_stream(self) -> None:
        """Expect the lines of one more stream."""
        self._streams += 1
        if self._file is not None and self._writer is None:
            self._writer = threading.Thread(target=self._run, name="ftjob-log", daemon=True)
            self._writer.start()

    def write(self, lines: bytes) -> None:
        """Keep whole lines.

        A slow volume slows the rank, as a slow terminal would. One that hangs, or is full, costs lines of the
        log and never the rank.
        """
        with self._changed:
            self._end = lines[-TAIL:] if len(lines) >= TAIL else (self._end + lines)[-TAIL:]
            if self._writer is None or self.error:
                return
            if self._size >= BUFFER and not self._is_stalled:
                self._changed.wait_for(lambda: self._size < BUFFER or self.error, PATIENCE_SECONDS)
            self._is_stalled = self._size >= BUFFER
            if self._is_stalled:
                self._dropped += len(lines)
                return
            lines = self._gap() + lines
            self._chunks.append(lines)
            self._size += len(lines)
            self._changed.notify_all()

    def close_stream(self) -> None:
        """Expect no more of one stream."""
        with self._changed:
            self._streams -= 1
            if not self._streams:
                self._chunks.append(self._gap())
                self._ended.set()
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait until all has been written, as long as the volume lets us."""
        if self._writer is not None:
            self._writer.join(seconds)
            if self._writer.is_alive() and not self.error:
                self.error = "the log was cut: the volume hangs"

    def _gap(self) -> bytes:
        dropped, self._dropped = self._dropped, 0
        return b"ftjob: the volume hung; %d bytes are missing here\n" % dropped if dropped else b""

    def _run(self) -> None:
        assert self._file is not None
        try:
            self._file.open()
            if self._heading and not self._file.is_new:
                self._file.write(f"{self._heading}\n".encode())
            while True:
                data = self._next()
                if not data:
                    break
                self._file.write(data)
                with self._changed:
                    self._size -= len(data)
                    self._changed.notify_all()
                if len(data) < WRITE:
                    self._ended.wait(WRITE_SECONDS)
        except OSError as error:
            with self._changed:
                self.error = f"the log was cut: {error.strerror}"
                self._chunks.clear()
                self._changed.notify_all()
        finally:
            self._file.close()

    def _next(self) -> bytes:
        """Wait for what is to be written; nothing when all streams have ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._streams <= 0)
            found = []
            size = 0
            while self._chunks and size < WRITE:
                found.append(self._chunks.popleft())
                size += len(found[-1])
            return b"".join(found)


class Pump(threading.Thread):
    """Reads one stream of a rank until its end.

    It reads no faster than the agent's own stream takes it: a rank that writes a gigabyte waits as it would
    without the agent, and memory stays bounded.

    Parameters
    ----------
    mark
        What each line begins with on its way out; then only whole lines go out.
    """

    def __init__(self, source: int, sink: int, log: RankLog, mark: bytes = b"") -> None:
        super().__init__(name=f"ftjob-pump-{source}", daemon=True)
        self._source, self._sink, self._log = source, sink, log
        self._mark = mark
        self._is_cut = False
        """Whether a line went out before its end had come."""
        self._line = b""
        self._passed = 0
        """So much of the unfinished line has been passed on."""
        self._tail = b""
        log.open_stream()

    @property
    def tail(self) -> str:
        """The last that came."""
        return self._tail.decode("utf-8", "replace")

    @property
    def unfinished(self) -> bytes:
        """The line that has no end yet: a progress bar, say."""
        return self._line

    def run(self) -> None:
        """Pass on what comes."""
        waiting = select.poll()
        waiting.register(self._source, select.POLLIN)
        hold = MARKED_HOLD_MILLISECONDS if self._mark else HOLD_MILLISECONDS
        while True:
            if len(self._line) > self._passed and not waiting.poll(hold):
                self._pass_on(self._line[self._passed :])
                self._passed = len(self._line)
            try:
                data = os.read(self._source, CHUNK)
            except OSError:
                data = b""
            if not data:
                break
            self._tail = data[-TAIL:] if len(data) >= TAIL else (self._tail + data)[-TAIL:]
            self._take(data)
            if len(data) < CHUNK:
                time.sleep(BATCH_SECONDS)
        # The other stream may go on: what it says is not the rest of this one's last line.
        self._flush(end=b"\n")
        self._log.close_stream()
        os.close(self._source)

    def _take(self, data: bytes) -> None:
        lines, newline, rest = data.rpartition(b"\n")
        if newline:
            self._line += lines + newline
            self._flush()
        self._line += rest
        if len(self._line) > CHUNK:
            self._flush()

    def _flush(self, end: bytes = b"") -> None:
        if self._line:
            self._pass_on(self._line[self._passed :])
            self._log.write(self._line + end)
            self._line, self._passed = b"", 0

    def _pass_on(self, data: bytes) -> None:
        view = memoryview(self._marked(data) if self._mark else data)
        with _SINKS[self._sink]:
            while view:
                try:
                    view = view[os.write(self._sink, view) :]
                except BlockingIOError:
                    select.select([], [self._sink], [])  # someone made our own stream non-blocking
                except OSError:
                    return  # nobody reads us any more; the rank must not notice

    def _marked(self, data: bytes) -> bytes:
        if self._is_cut and data.startswith(b"\n"):
            data = data[1:]  # the end of a line that has one already
        self._is_cut = bool(data) and not data.endswith(b"\n")
        return marked(data, self._mark) if data else b""
