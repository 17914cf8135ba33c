"""The ranks' output as it comes, read from their logs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 18


class LogTail:
    """Follows one rank's log; gives whole lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """Yield the lines that are new, at most a chunk at a time."""
        data = self._read()
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > CHUNK:
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            yield _text(line)

    def end(self) -> Iterator[str]:
        """Yield all that is left, a last line without its end too."""
        while data := self._read():
            *whole, self._rest = (self._rest + data).split(b"\n")
            for line in whole:
                yield _text(line)
        if self._rest:
            yield _text(self._rest)
        self._rest = b""
        if self._file is not None:
            self._file.close()

    def _read(self) -> bytes:
        if self._file is None:
            try:
                self._file = os.fdopen(nofollow.open_regular(str(self._path)), "rb")
            except OSError:
                return b""
        return self._file.read(CHUNK)


def _text(line: bytes) -> str:
    # What a progress bar wrote over is of no use in a log: the last state of the line counts.
    return line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
