"""A file in the outputs that never outgrows its limit: its head stays, and its tail."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable

from ftjob_protocol import files
from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from ftjob_protocol.files.nofollow import Folder

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
FAREWELL_BYTES = 256
"""Of the head's limit: room for the line that says where the tail is."""


class BoundedFile:
    """Appends lines: to the head, up to half of the limit, then to the tail, two files of a quarter each.

    When the newer of the two is full it takes the place of the older one. So nothing is ever rewritten, which
    many volumes can't, and all that a writer has to know are the sizes of the files: the next attempt goes on
    where the last one ended.

    Parameters
    ----------
    open_folder
        Opens the folder that the file is in.
    name
        The head's name; `files.tails` has those of the tail.
    limit
        Most bytes of all three.
    farewell
        The head's last line, once it is full; empty for none.
    """

    def __init__(
        self, open_folder: Callable[[], Folder], name: str, limit: int, *, farewell: str = ""
    ) -> None:
        self._open_folder, self._name, self._limit = open_folder, name, limit
        self._older, self._newer = files.tails(name)
        self._farewell = f"{farewell}\n".encode()[:FAREWELL_BYTES] if farewell else b""
        self._fd = -1
        self._size = 0
        self._is_head = True

    @property
    def is_new(self) -> bool:
        """Whether nothing is in it yet."""
        return self._is_head and not self._size

    def open(self) -> None:
        """Open what was written to last; OSError if that is no regular file, or can't be written."""
        with self._open_folder() as folder:
            self._is_head = not folder.has(self._newer)
            self._use(folder.open(self._name if self._is_head else self._newer, APPEND))
            os.utime(self._fd)  # it is in use from now on, even if nothing is written for a while

    def write(self, lines: bytes) -> None:
        """Append whole lines; OSError if they can't be written."""
        while lines:
            fitting = self._fitting(lines)
            if fitting:
                nofollow.write_all(self._fd, lines[:fitting])
                self._size += fitting
                lines = lines[fitting:]
            else:
                self._turn_over()

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fitting(self, lines: bytes) -> int:
        """Return how many bytes go into the present file: whole lines, unless one is longer than a file."""
        room = (self._limit // 2 - len(self._farewell) if self._is_head else self._limit // 4) - self._size
        if len(lines) <= room:
            return len(lines)
        whole = lines.rfind(b"\n", 0, max(0, room)) + 1
        return whole if whole or self._size else max(1, room)

    def _turn_over(self) -> None:
        with self._open_folder() as folder:
            if self._is_head:
                nofollow.write_all(self._fd, self._farewell)
            else:
                folder.rename(self._newer, folder, self._older)
            self.close()
            self._is_head = False
            self._use(folder.open(self._newer, APPEND))

    def _use(self, fd: int) -> None:
        self._fd, self._size = fd, os.fstat(fd).st_size
