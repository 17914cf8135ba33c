"""Reports beside and after a run: each capture's once it is complete, the job's at the end."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from ftjob_protocol import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LESS_URGENT = 10
"""Added to the niceness: the ranks come first."""
PATIENCE = 120.0
"""Seconds that a report may take at the end."""
_OF_A_JOB = (files.CAPTURES, files.VITALS)


class Collector:
    """Runs the collector for one capture at a time."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._begun: set[str] = set()
        self._child: subprocess.Popen[str] | None = None
        self._present = ""

    @property
    def pids(self) -> set[int]:
        """The child that may still run."""
        return {self._child.pid} if self._child is not None else set()

    def look(self, complete: Iterable[str]) -> str:
        """Begin with a capture that is complete, if there is one; return what is wrong with the last one."""
        if self._child is not None:
            if self._child.poll() is None:
                return ""
            return self._end()
        for capture in complete:
            if capture not in self._begun:
                self._begin(capture)
                break
        return ""

    def finish(self, complete: Iterable[str]) -> list[str]:
        """Report on what is left, and on the job; return what went wrong."""
        wrong = [self._end()]
        for capture in [capture for capture in complete if capture not in self._begun]:
            self._begin(capture)
            wrong.append(self._end())
        if any(
            (self._outputs / name).is_dir() and any((self._outputs / name).iterdir()) for name in _OF_A_JOB
        ):
            self._begin("")
            wrong.append(self._end())
        return [text for text in wrong if text]

    def stop(self) -> None:
        """End the child; what it was writing has a name that nobody reads."""
        if self._child is not None:
            self._child.kill()
            self._begun.discard(self._present)
            self._child.communicate()
            self._child = None

    def _begin(self, capture: str) -> None:
        from ftjob.insight.child import command  # noqa: PLC0415  most runs have nothing to collect yet

        self._begun.add(capture)
        self._present = capture
        arguments = command("write", self._outputs, capture)
        self._child = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, LESS_URGENT)

    def _end(self) -> str:
        if self._child is None:
            return ""
        try:
            _, said = self._child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop()
            return f"no report of {self._name()}: it took longer than {PATIENCE:g} s"
        code, self._child = self._child.returncode, None
        if not code:
            return ""
        from ftjob.insight.child import why_ended  # noqa: PLC0415  as in `_begin`

        return f"no report of {self._name()}: {why_ended(code, said)}"

    def _name(self) -> str:
        return files.capture(self._present) if self._present else "the job"
