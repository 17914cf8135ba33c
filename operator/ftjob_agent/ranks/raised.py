"""What processes of a rank have raised and nobody caught, and what has become of these processes.

The hooks leave a record before anything at exit runs. It says why the rank ends if the process is the rank's
first one, or lived until the rank's end. A shell may have gone on without it: then it says nothing.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ftjob_agent import linux
from ftjob_protocol import files
from ftjob_protocol.files import nofollow
from ftjob_protocol.values.digits import whole
from ftjob_protocol.values.fields import count
from ftjob_protocol.values.text import clean

RECORD_LIMIT = 1 << 24
OUTLIVED_NS = 3 * 10**9
"""A shell that lives longer than its program went on to something else."""
AT_ONCE_NS = 5 * 10**8
CODE = 1
"""What Python exits with after an uncaught exception."""
KILL_SECONDS = 1.0
TEXT_BYTES = 300


@dataclass(frozen=True)
class Record:
    """One uncaught exception."""

    data: Mapping[str, Any]
    pid: int
    """Of the process that raised it; 0 if that is not known."""
    time_ns: int

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from other records of the same rank."""
        return self.pid, self.time_ns

    @property
    def in_short(self) -> str:
        """The exception in one line."""
        text = f"{self.data.get('type') or 'an exception'}: {self.data.get('message') or ''}"
        return clean(" ".join(text.split()), TEXT_BYTES).rstrip(": ")


class Activity:
    """For how long processes have visibly done nothing: no CPU time, no byte read or written."""

    def __init__(self, now: float) -> None:
        self._mark: object = None
        self._since = now

    def look(self, pids: list[int], now: float) -> None:
        """Look at them once."""
        mark = linux.work(pids)
        if mark != self._mark:
            self._mark, self._since = mark, now

    def idle(self, now: float) -> float:
        """Return for how many seconds nothing has changed."""
        return now - self._since


class Raised:
    """What the processes of one rank have raised.

    Parameters
    ----------
    rank_dir
        Where the hooks leave their records.
    first
        The rank's first process.
    """

    def __init__(self, rank_dir: str, first: int) -> None:
        self._dir, self._first = rank_dir, first
        self._alive_ns: dict[tuple[int, int], int] = {}
        self._gone: set[tuple[int, int]] = set()
        self._raising: Optional[Record] = None
        self._since = 0.0
        self._activity = Activity(0.0)
        self._told_at: Optional[float] = None

    @property
    def is_raising(self) -> bool:
        """Whether a process that has raised something still lives."""
        return self._raising is not None

    @property
    def is_final(self) -> bool:
        """Whether the rank's first process has raised it: the rank will fail, whatever it still does."""
        return self._raising is not None and self._raising.pid == self._first

    def look(self, now: float) -> None:
        """Look once whether processes that have raised something still live, and whether they work."""
        raising = None
        table = None
        for name in (files.FAILURE, files.CHILD_FAILURE):
            record = self._read(name)
            if record is None or record.key in self._gone:
                continue
            table = linux.children() if table is None else table
            # Any number may stand there: only the rank's own processes are looked at, or ended.
            if record.pid not in linux.descendants(self._first, table):
                self._gone.add(record.key)
                continue
            self._alive_ns[record.key] = time.time_ns()
            if name == files.FAILURE:
                raising = record
        if raising is None or table is None:
            self._raising = None
            return
        if self._raising is None or self._raising.key != raising.key:
            self._raising, self._since, self._told_at = raising, now, None
            self._activity = Activity(now)
        self._activity.look(linux.descendants(raising.pid, table), now)

    def goes_on(self, now: float, *, limit: float, patience: float) -> bool:
        """Whether a process that has raised something may do what it does at its end.

        Parameters
        ----------
        limit
            For so many seconds at most.
        patience
            It may visibly do nothing for so many seconds.
        """
        if self._raising is None:
            return False
        return now - self._since < limit and self._activity.idle(now) < patience

    def end(self, now: float) -> None:
        """End a process behind a shell that hangs at its end: the shell goes on as it will."""
        if self._raising is None or self.is_final:
            return
        if self._told_at is None:
            self._told_at = now
            _send([self._raising.pid], signal.SIGTERM)
        elif now >= self._told_at + KILL_SECONDS:
            _send(linux.descendants(self._raising.pid, linux.children()), signal.SIGKILL)

    def explanation(self, code: Optional[int], *, ended_ns: int, stopped_ns: int) -> Optional[Record]:
        """Return the exception that explains the rank's end.

        Parameters
        ----------
        code
            The rank's exit code, if it ended by itself.
        ended_ns
            When it did, or 0.
        stopped_ns
            When it was told to end, or 0.
        """
        own = self._read(files.FAILURE)
        if own is not None and own.pid == self._first:
            return own
        if code is None:
            # Behind a shell: it would have ended with its program, had it not been stopped before.
            was_ending = stopped_ns and own is not None and self._lived(own, stopped_ns, AT_ONCE_NS)
            return own if was_ending else None
        if own is not None and self._lived(own, ended_ns, OUTLIVED_NS):
            return own
        child = self._read(files.CHILD_FAILURE)
        if child is not None and code == CODE and self._lived(child, ended_ns, OUTLIVED_NS):
            return child
        return None if own is not None else self._read_torchelastic()

    def survived(self) -> Optional[Record]:
        """Return the exception that a rank has survived which has succeeded."""
        return self._read(files.FAILURE) or self._read(files.EARLIER_FAILURE)

    def _lived(self, record: Record, until_ns: int, tolerance: int) -> bool:
        """Whether the process of a record lived until then, as far as was seen."""
        return until_ns - max(record.time_ns, self._alive_ns.get(record.key, 0)) <= tolerance

    def _read(self, name: str) -> Optional[Record]:
        data = _read_json(os.path.join(self._dir, name))
        return Record(data, count(data.get("pid")) or 0, count(data.get("timeNs")) or 0) if data else None

    def _read_torchelastic(self) -> Optional[Record]:
        """Return what torchelastic's ``@record`` left."""
        message = (_read_json(os.path.join(self._dir, files.TORCHELASTIC_FAILURE)) or {}).get("message")
        if not isinstance(message, dict):
            return None
        extra = message.get("extraInfo")
        extra = extra if isinstance(extra, dict) else {}
        text, seconds = str(message.get("message", "")), str(extra.get("timestamp", ""))
        time_ns = (whole(seconds, 10) or 0) * 10**9
        kind, callstack = text.split(":", 1)[0] if ":" in text else "", str(extra.get("py_callstack", text))
        data = {"type": kind, "message": text, "traceback": callstack, "timeNs": time_ns}
        return Record(data, 0, time_ns)


def _read_json(path: str) -> Optional[dict[str, Any]]:
    if nofollow.size(path) is None:
        return None
    try:
        data = json.loads(nofollow.read(path, RECORD_LIMIT).decode("utf-8", "replace"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
