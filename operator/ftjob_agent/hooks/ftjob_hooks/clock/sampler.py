"""`where.json`: at which lines the thread that steps was seen, over the last ten to twenty seconds."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Dict, List, Tuple

from .. import json_file, process
from ..protocol import Doing, Line, Where, files, variables, where
from . import lines
from .recorder import current

if TYPE_CHECKING:
    from types import CodeType

    from .lines import Place, Seen

WINDOW = 10.0
"""Seconds between two writings."""
_FRAMES = 40
_CODES = 10_000


class Sampler:
    """What was seen in the window under way, and in the one before it."""

    def __init__(self) -> None:
        self._places: Dict[int, Place] = {}  # which keep their code, so that no other has its identity
        self._counts: Dict[Seen, int] = {}
        self._before: Dict[Seen, int] = {}
        self._began = time.monotonic()

    def tick(self) -> None:
        """Take a sample; write what there is when a window is over."""
        frame = sys._current_frames().get(current.thread)
        stack: List[Tuple[CodeType, int]] = []
        while frame is not None and len(stack) < _FRAMES:
            stack.append((frame.f_code, frame.f_lineno or 0))
            frame = frame.f_back
        if len(self._places) > _CODES:
            self._places.clear()
        for code, _ in stack:
            if id(code) not in self._places:
                self._places[id(code)] = lines.place(code, _main())
        seen = lines.see(stack, self._places)
        if seen is not None:
            self._counts[seen] = self._counts.get(seen, 0) + 1
        if time.monotonic() - self._began >= WINDOW:
            self.write()
            self._before, self._counts, self._began = self._counts, {}, time.monotonic()

    def write(self) -> None:
        """Write what was seen, unless another process of the rank is the one that trains."""
        folder = os.environ[variables.RANK_DIR]
        counted = self.where()
        if counted.samples and process.trains(os.path.join(folder, files.STEPS)):
            json_file.write(os.path.join(folder, files.WHERE), counted.as_json())

    def where(self) -> Where:
        """Return the lines of both windows."""
        total: Dict[Tuple[str, Doing], int] = {}
        for counts in (self._before, self._counts):
            for seen, count in tuple(counts.items()):
                key = lines.text(seen.place.code, seen.line), _doing(seen)
                total[key] = total.get(key, 0) + count
        samples = sum(total.values())
        most = sorted(total.items(), key=lambda item: -item[1])[: where.LINES]
        return Where(
            samples, tuple(Line(text, doing, round(count / samples, 4)) for (text, doing), count in most)
        )


def _doing(seen: Seen) -> Doing:
    """Look at the source where a line may be waiting for the device by a function that is not Python's."""
    if seen.doing != Doing.OTHER or not seen.is_plain:
        return seen.doing
    import linecache

    source = linecache.getline(seen.place.code.co_filename, seen.line)
    return Doing.SYNC if lines.waits(source) else seen.doing


def _main() -> str:
    """Return the package that was started by `python -m`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return str(getattr(spec, "name", "")).partition(".")[0]


_sampler = Sampler()


def tick() -> None:
    """Take a sample."""
    _sampler.tick()


def write() -> None:
    """Write what was seen so far."""
    _sampler.write()


def _forget() -> None:
    # In a forked child: what was seen is the parent's.
    global _sampler
    _sampler = Sampler()


os.register_at_fork(after_in_child=_forget)
