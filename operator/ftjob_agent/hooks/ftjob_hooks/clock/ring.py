"""Writing `clock.bin`."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from ..protocol import clock as layout

if TYPE_CHECKING:
    from ..protocol import StepRecord

_HEAD = layout.HEAD_OFFSET // 8


class Ring:
    """The last steps of this process, in a file that is mapped into memory.

    Raises
    ------
    OSError
        The file can't be made, or the volume has no room for it.
    """

    def __init__(self, path: str, began_ns: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags, 0o644)
        try:
            # Not ftruncate: a page for which there is no room on the volume would end the process by SIGBUS.
            os.posix_fallocate(file, 0, layout.SIZE)
            self._memory = mmap.mmap(file, layout.SIZE)
        finally:
            os.close(file)
        # A word is written in one go, which a reader never sees half of; `struct` writes byte by byte.
        self._words = memoryview(self._memory).cast("Q")
        self._words[_HEAD] = self._count = 0
        layout.HEADER.pack_into(self._memory, 0, layout.MAGIC, layout.VERSION, layout.CAPACITY, 0, began_ns)

    def write(self, record: StepRecord) -> None:
        """Add a record, and then count it."""
        offset = layout.HEADER.size + self._count % layout.CAPACITY * layout.RECORD.size
        layout.RECORD.pack_into(self._memory, offset, *record)
        self._count += 1
        self._words[_HEAD] = self._count
