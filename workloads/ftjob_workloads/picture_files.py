"""Files and folders of pictures, read by OpenCV; what can't be read is reported, and the rest goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Bytes = npt.NDArray[np.uint8]


@dataclass
class Batch:
    """Pictures that were read, and what could not be."""

    files: list[str] = field(default_factory=list)
    pixels: list[Bytes] = field(default_factory=list)
    """BGR, (height, width, 3) of any size."""
    bad: list[dict[str, str]] = field(default_factory=list)
    """``file`` and ``reason``."""

    def add(self, path: Path) -> None:
        """Read a file."""
        try:
            data = path.read_bytes()
        except OSError as error:
            self.bad.append({"file": str(path), "reason": str(error.strerror)})
            return
        reason = _unfit(data)
        pixels = None if reason else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            self.bad.append({"file": str(path), "reason": reason or "no picture that OpenCV can read"})
        else:
            self.files.append(str(path))
            self.pixels.append(pixels.astype(np.uint8, copy=False))


def _unfit(data: bytes) -> str:
    """Say why not even to try: OpenCV would fill up what is missing of a file with grey."""
    if not data:
        return "empty"
    ends = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}  # of JPEG and PNG
    end = ends.get(data[:2])
    return "cut short" if end and end not in data[-64:] else ""


def find(inputs: Sequence[str]) -> list[Path]:
    """Return the files that are meant: all in a folder and below it, in order."""
    found: list[Path] = []
    for path in map(Path, inputs):
        found += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return found


def read(files: Sequence[Path], size: int) -> Iterator[Batch]:
    """Read so many files at a time."""
    for start in range(0, len(files), size):
        batch = Batch()
        for file in files[start : start + size]:
            batch.add(file)
        yield batch
