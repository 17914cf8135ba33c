"""`hooks.json`: which frameworks were hooked, and why something was not."""

from __future__ import annotations

import functools
import os
from typing import Any, Callable, List, TypeVar

from . import json_file, process
from .protocol import files, variables

_MOST = 20

_frameworks: List[str] = []
_notes: List[str] = []
_unseen: List[str] = []

F = TypeVar("F", bound=Callable[..., Any])


def hooked(framework: str) -> None:
    """Say that a framework is hooked."""
    if framework not in _frameworks:
        _frameworks.append(framework)
        write()


def note(text: str) -> None:
    """Say why something does not work; each text once, and no more than a few."""
    if text not in _notes and len(_notes) < _MOST:
        _notes.append(text)
        write()


def unseen(*texts: str) -> None:
    """Say what could not be measured, and why: no fault, but nobody shall take it for nothing."""
    found = [text for text in texts if text and text not in _unseen]
    if found and len(_unseen) < _MOST:
        _unseen.extend(found)
        write()


def write() -> None:
    """Write the file, unless this process is a helper of the one that trains."""
    if not process.speaks():
        return
    try:
        json_file.write(
            os.path.join(os.environ[variables.RANK_DIR], files.HOOKS),
            {"frameworks": _frameworks, "notes": _notes, **({"unseen": _unseen} if _unseen else {})},
        )
    except OSError:
        pass  # the folder is gone or full: nobody left to tell


def guarded(function: F) -> F:
    """Make a hook that never raises: its error becomes a note."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            note(f"{function.__qualname__}: {error!r}")
            return None

    return call  # type: ignore[return-value]
