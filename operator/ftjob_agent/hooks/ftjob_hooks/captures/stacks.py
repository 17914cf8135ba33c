"""The tool Stacks: where all threads are, again and again, counted as flame graphs want it."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from typing import Any, List, Tuple

from ..protocol import files

_DEPTH = 60
_MOST = 20_000

_Stack = Tuple[str, Tuple[Tuple[Any, int], ...]]


class Stacks:
    """Samples of this process, taken by a thread of ours."""

    def __init__(self) -> None:
        self._counts: Counter[_Stack] = Counter()

    def sample(self) -> None:
        """Look where the threads are, but for the one that looks."""
        own = threading.get_ident()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            name = names.get(ident, "thread")
            if ident == own or name.startswith("ftjob-"):
                continue
            stack: List[Tuple[Any, int]] = []
            at: Any = frame
            while at is not None and len(stack) < _DEPTH:
                stack.append((at.f_code, at.f_lineno))
                at = at.f_back
            found = (name, tuple(stack))
            if found in self._counts or len(self._counts) < _MOST:
                self._counts[found] += 1

    def save(self, folder: str) -> None:
        """Write a line for each stack: its frames from the outermost on, and how often it was seen."""
        lines: Counter[str] = Counter()
        for (name, stack), count in self._counts.items():
            frames = [_label(name), *(_shown(code, line) for code, line in reversed(stack))]
            lines[";".join(frames)] += count
        path = os.path.join(folder, files.STACKS)
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(f"{line} {count}\n" for line, count in lines.most_common())


def _shown(code: Any, line: int) -> str:
    return _label(f"{code.co_name} ({code.co_filename}:{line})")


def _label(text: str) -> str:
    return text.replace(";", ",").replace("\n", " ")
