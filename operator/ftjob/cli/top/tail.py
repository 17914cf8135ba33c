"""Reads what is new in a folder of vitals. Its text also goes into pods: Python 3.9 and stdlib alone."""

# ruff: noqa: PTH110, PTH114, PTH118, PTH123, PTH208  # pathlib would take as long to import there as all else

from __future__ import annotations

import os
import select
import stat
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFE_SECONDS = 900
BEGINNING = 4 << 20
"""Bytes of what was there before, of all ranks together."""
CHUNK = 1 << 18


class Tail:
    """Reads lines as they come: of what was there before only the last ones of each rank."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._places: dict[tuple[int, int], int] = {}
        self.period = 5.0

    def news(self) -> Iterator[bytes]:
        """Yield whole lines, with their ends."""
        if os.path.islink(self._folder) or not os.path.exists(self._folder):  # no rank has told anything yet
            return
        names = [
            name
            for name in sorted(os.listdir(self._folder))
            if name.startswith("rank-") and name.endswith(".jsonl")
        ]
        self.period = min(30.0, max(5.0, len(names) / 50))  # the volume is shared by all ranks
        share = None if self._places else min(1 << 16, BEGINNING // (len(names) or 1))
        known, self._places = self._places, {}
        for name in names:
            path = os.path.join(self._folder, name)
            try:
                found = os.lstat(path)
                key = (found.st_dev, found.st_ino)
                place = self._places[key] = known.get(key, 0)
                if not stat.S_ISREG(found.st_mode) or found.st_size == place:
                    continue
                with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                    if share is not None and found.st_size > share:
                        file.seek(found.st_size - share)
                        file.readline(CHUNK)
                    elif place <= found.st_size:
                        file.seek(place)
                    data = file.read(CHUNK)
                    end = data.rfind(b"\n") + 1 or len(data) // CHUNK * CHUNK
                    self._places[key] = file.tell() - len(data) + end
            except OSError:
                continue
            if data[:end]:
                yield data[:end]


def main() -> None:
    """Write lines, and an empty one after each look, as long as somebody reads them."""
    tail, end = Tail(sys.argv[1]), time.monotonic() + LIFE_SECONDS
    while time.monotonic() < end:
        for lines in tail.news():
            sys.stdout.buffer.write(lines)
        sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
        if select.select([0], [], [], tail.period)[0] and not os.read(0, 1024):
            return


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(0)
