"""The processes of one rank: those below its first one, and those that this one has left behind."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Container

from ftjob_agent import linux
from ftjob_protocol.variables import RANK_DIR


class Tree:
    """The processes of one rank.

    Whatever loses its parent becomes the agent's own child, as in a container the first process's.

    Parameters
    ----------
    first
        The rank's first process, which began a session of its own.
    rank_dir
        The rank's folder, which its processes know by a variable.
    """

    def __init__(self, first: int, rank_dir: str) -> None:
        self.first = first
        self._mark = f"{RANK_DIR}={rank_dir}".encode()
        self._told: set[int] = set()

    def end_the_rest(self, known: Container[int]) -> bool:
        """Send SIGTERM to what the first process has left behind; return whether there is anything.

        Each gets it once, and not what is below it: its parent decides on that, as a program does on its
        data loaders. Those come first who do something at SIGTERM: `tee` would only die of it, and the
        program that writes its checkpoint would die of the closed pipe.

        Parameters
        ----------
        known
            Children of the agent that nobody has left behind.
        """
        table = linux.children()
        left = self._left(table, known)
        busy = [
            pid
            for pid in left
            if any(linux.waits_for(below, signal.SIGTERM) for below in linux.descendants(pid, table))
        ]
        for pid in busy or left:
            if pid not in self._told:
                self._told.add(pid)
                _send(pid, signal.SIGTERM)
        return bool(left)

    def kill(self, known: Container[int]) -> None:
        """Send SIGKILL to all of it."""
        table = linux.children()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.first, signal.SIGKILL)
        for root in (self.first, *self._left(table, known)):
            for pid in linux.descendants(root, table):
                _send(pid, signal.SIGKILL)

    def _left(self, table: dict[int, list[int]], known: Container[int]) -> list[int]:
        own = os.getsid(0)
        left = (pid for pid in table.get(os.getpid(), ()) if pid not in known)
        return [pid for pid in left if linux.session(pid) not in {None, own} and self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        """Whether it is this rank's, or may be: a process can leave its session and clear its environment."""
        if linux.session(pid) == self.first:
            return True
        variables = linux.environment(pid)
        mark = next((item for item in variables if item.startswith(f"{RANK_DIR}=".encode())), None)
        return mark is None or mark == self._mark


def _send(pid: int, number: int) -> None:
    # Who runs as another user is ended by the end of the container.
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
