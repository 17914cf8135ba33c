"""The ranks' output as it comes, read from their logs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ftjob_protocol import files
from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 18


class LogTail:
    """Follows one rank's log, into the files of its tail too; gives whole lines.

    A reader that is slower than a rank that writes more than the log may hold misses what is no longer there.
    """

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
            self._file = _opened(self._path)
        if self._file is None:
            return b""
        data = self._file.read(CHUNK)
        if data:
            return data
        following = self._following(os.fstat(self._file.fileno()).st_ino)
        if following is None:
            return b""
        last = self._file.read(CHUNK)  # nothing comes after it once there is a file that follows
        if last:
            following.close()
            return last
        self._file.close()
        self._file = following
        return self._file.read(CHUNK)

    def _following(self, present: int) -> BinaryIO | None:
        """Return the file that goes on where the present one ends; None if there is none yet."""
        older, newer = (_opened(Path(path)) for path in files.tails(str(self._path)))
        numbers = [os.fstat(file.fileno()).st_ino if file else -1 for file in (older, newer)]
        chosen = None if present == numbers[1] else newer if older is None or present == numbers[0] else older
        for file in (older, newer):
            if file is not None and file is not chosen:
                file.close()
        return chosen


def _opened(path: Path) -> BinaryIO | None:
    try:
        return os.fdopen(nofollow.open_regular(str(path)), "rb")
    except OSError:
        return None


def _text(line: bytes) -> str:
    # What a progress bar wrote over is of no use in a log: the last state of the line counts.
    return line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
