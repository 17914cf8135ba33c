"""``ftjob logs``: what the ranks write, each line once, and why the job has failed in the end."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from ftjob.api.job import Job, parse_job
from ftjob.cli.exit_codes import FAILED, SUCCEEDED
from ftjob.cli.jobs.common import chosen, exit_code
from ftjob.cli.terminal import coloured, one_line, say, shown
from ftjob.cli.view import COLOURS
from ftjob.cli.words import failure_text, reason
from ftjob.client.logs.line import wanted_lines
from ftjob.models.manifest import mapping
from ftjob.models.status import Phase
from ftjob.plan.build.outputs import outputs_claim, outputs_path
from ftjob_protocol import files

if TYPE_CHECKING:
    import argparse

    from ftjob.client import JobHandle, LogLine
    from ftjob.models.status import JobStatus

RESET = "\x1b[0m"


def main(args: argparse.Namespace) -> int:
    """Print the lines; 1 if the job has failed."""

    def verb() -> int:
        which = {key: getattr(args, key) for key in ("ranks", "follow", "grep", "since", "tail", "attempt")}
        wanted_lines(**which)  # before the cluster is asked which job is meant
        return show(chosen(args), args.output, **which)

    return exit_code(verb)


def show(job: JobHandle, form: str = "text", **which: Any) -> int:
    """Print a job's lines to their end; return what the job came to, as an exit code.

    Parameters
    ----------
    form
        ``text``, ``raw`` or ``json``.
    which
        As for `JobHandle.logs`.
    """
    printer = Printer(sys.stdout, form)
    for line in job.logs(**which, on=_Phases(job).see, note=lambda text: say(one_line(f"ftjob: {text}"))):
        printer.print(line)
    status = job.refresh()
    is_over = status.phase is not None and status.phase.is_final
    if is_over and not printer.count:
        say(one_line(_files(job)))
    if status.phase is not Phase.FAILED:
        return SUCCEEDED
    if status.failure is not None:
        tail = None if printer.count else status.failure.log_tail  # these lines are there
        say(failure_text(status.failure.model_copy(update={"log_tail": tail})))
    else:
        say(f"{job.name} failed: {reason(status)}")
    return FAILED


class Printer:
    """Prints lines as they are wanted; on a terminal each rank has its colour."""

    def __init__(self, stream: TextIO, form: str) -> None:
        self._stream = stream
        self._form = {"text": self._text, "raw": self._raw, "json": self._json}[form]
        self._is_coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._marks: dict[str | int, str] = {}
        self.count = 0
        """How many were printed."""

    def print(self, line: LogLine) -> None:
        """Print a line."""
        self.count += 1
        self._stream.write(f"{self._form(line)}\n")
        self._stream.flush()

    def _text(self, line: LogLine) -> str:
        who = line.pod if line.rank is None else line.rank
        mark = self._marks.get(who)
        if mark is None:
            mark = self._marks[who] = self._mark(line)
        text = line.text.rstrip("\r").rpartition("\r")[2]  # as a progress bar stands in the end
        if text.isprintable():
            return f"{mark}{text}"
        if not self._is_coloured:
            return f"{mark}{shown(text)}"
        return f"{mark}{coloured(text)}{RESET}"

    def _mark(self, line: LogLine) -> str:
        if line.rank is None:
            return f"[{line.pod}] "
        mark = f"[rank {line.rank}] "
        if not self._is_coloured:
            return mark
        from rich.style import Style  # noqa: PLC0415  only a terminal needs it

        return Style.parse(COLOURS[line.rank % len(COLOURS)]).render(mark)

    @staticmethod
    def _raw(line: LogLine) -> str:
        return line.text

    @staticmethod
    def _json(line: LogLine) -> str:
        return json.dumps(dataclasses.asdict(line), ensure_ascii=False)


class _Phases:
    """Says where the job is whenever that has changed."""

    def __init__(self, job: JobHandle) -> None:
        self._job = job
        self._said = ""

    def see(self, status: JobStatus) -> None:
        if status.phase is Phase.SUSPENDED and not mapping(self._job.body, "spec").get("suspend"):
            return  # it was, while its code was on the way
        told = [each for each in status.conditions if each.type.value == status.phase]
        why = told[-1].message if told and status.phase is not Phase.FAILED else ""
        text = ": ".join(filter(None, (f"ftjob: {status.phase or 'New'}", why)))
        if text != self._said:
            self._said = text
            say(one_line(text))


def _files(job: JobHandle) -> str:
    """Return where the lines are of pods that are gone."""
    known = parse_job(job.body)
    if not isinstance(known, Job) or known.spec.outputs is None:
        return f"{job.name} has no outputs, so its lines went with its pods"
    return (
        f"what its ranks wrote is in the claim {outputs_claim(known)}: "
        f"{outputs_path(known)}/{files.LOGS}/rank-00000.log and so on"
    )
