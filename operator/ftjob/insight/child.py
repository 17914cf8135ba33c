"""Starting the collector: a process of its own, so that no trace can take the memory of who asks for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from ftjob.insight.summary import Summary, decode

if TYPE_CHECKING:
    from pathlib import Path


class CollectorError(Exception):
    """The collector says why it has nothing to show."""


def command(what: str, path: Path, capture: str = "", ranks: str = "") -> list[str]:
    """Return what starts it; `what` is ``write`` or ``summary``, `ranks` are those of a timeline."""
    return [sys.executable, "-m", __package__, what, str(path), *filter(None, (capture, ranks))]


def write(path: Path, capture: str = "", ranks: str = "") -> None:
    """Write the reports into the outputs; a capture's timeline of the ranks that are named, if any are.

    Raises
    ------
    CollectorError
        They could not be written.
    """
    _run(command("write", path, capture, ranks))


def summary(path: Path, capture: str = "") -> Summary:
    """Return the summary of a file, of a capture, or of a job's outputs.

    Raises
    ------
    CollectorError, SummaryError
        There is none.
    """
    return decode(_run(command("summary", path, capture)), str(path))


def why_ended(code: int, said: str) -> str:
    """Return what its last line says, or how it ended without one."""
    lines = said.strip().splitlines()
    if lines:
        return lines[-1]
    if code < 0:
        return f"the collector was killed by {signal.Signals(-code).name}"
    return f"the collector ended with {code}"


def _run(arguments: list[str]) -> bytes:
    done = subprocess.run(
        arguments, capture_output=True, check=False, env={**os.environ, "PYTHONSAFEPATH": "1"}
    )
    if done.returncode:
        raise CollectorError(why_ended(done.returncode, done.stderr.decode(errors="replace")))
    return done.stdout
