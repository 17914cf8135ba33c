"""``ftjob run``: one job on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ftjob.api.job import Job
from ftjob.cli.exit_codes import FAILED, INTERRUPTED, INVALID, SUCCEEDED
from ftjob.cli.source import Found, SourceError, read
from ftjob.cli.terminal import one_line, say
from ftjob.cli.view import choose_view
from ftjob.cli.words import (
    duration,
    failure_text,
    findings,
    missing_profiles,
    profiles,
    reason,
    shorten,
    time_line,
    verdict,
)
from ftjob.code.errors import CodeError
from ftjob.code.pack import pack
from ftjob.local.errors import CannotRun
from ftjob.local.outputs import OutputsFolder, temporary_folder
from ftjob.local.runner import Runner, Settings
from ftjob.models.manifest import mapping
from ftjob.models.names import KIND
from ftjob.models.status import Phase
from ftjob_protocol import files
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ftjob.models.status import JobStatus

OLDEST_PYTHON = (3, 9)
"""The oldest that the agent runs under."""


def main(args: argparse.Namespace) -> int:
    """Run the job and return what it came to."""
    start = time.monotonic()
    # With -o json stdout is for the status alone.
    stream = sys.stderr if args.output == "json" else sys.stdout
    try:
        found, notes = _one_job(args.file)
        python = _interpreter(args.python)
        path = Path(args.outputs) if args.outputs else Path("ftjob-outputs") / found.job.name
        with _code(args.code, found, path) as (body, code), OutputsFolder(path) as outputs:
            with choose_view(stream, f"{found.job.name}", quiet=args.quiet) as view:
                for note in notes:
                    view.note(note)
                runner = Runner(body, outputs, Settings(python, args.timeout, code), view)
                status, ending = runner.run()
                if ending is None:
                    runner.report(status)
            if args.output == "json":
                print(json.dumps(status.to_wire(), indent=2))
            if status.phase is not Phase.SUCCEEDED or not args.quiet:
                target = sys.stderr if args.quiet else stream
                _summary(target, found, status, outputs, time.monotonic() - start)
    except SourceError as error:
        say(str(error))
        return INVALID
    except (CannotRun, CodeError) as error:
        say(one_line(str(error)))
        return INVALID
    if status.phase is Phase.SUCCEEDED:
        return SUCCEEDED
    return INTERRUPTED if ending is not None and ending.reason == Reason.INTERRUPTED else FAILED


@contextmanager
def _code(folder: str | None, found: Found, outputs: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Pack the code as `ftjob submit` does; give the job that names it, and the archive's path."""
    brought = found.job.spec.code if isinstance(found.job, Job) else None
    if folder is None:
        if brought is not None:
            there = f"ConfigMap {brought.config_map} is in the cluster, not on this machine"
            raise CannotRun("spec.code", there, "name the folder with the code: --code DIR")
        yield found.body, ""
        return
    archive = pack(folder, without=outputs)
    spec = mapping(found.body, "spec") | {"code": archive.reference(found.job.name)}
    with temporary_folder() as here:
        file = Path(here) / files.CODE_ARCHIVE
        file.write_bytes(archive.content)
        yield {**found.body, "spec": spec}, str(file)


def _one_job(file: str) -> tuple[Found, tuple[str, ...]]:
    source = read(file)
    problems = [line for found in source.jobs for line in found.complaints()]
    if problems:
        raise SourceError(*problems)
    if len(source.jobs) != 1:
        names = ", ".join(found.job.name for found in source.jobs) or "none"
        message = f"{file}: {len(source.jobs)} of kind {KIND} in it ({names}); give a file with one job"
        raise SourceError(message)
    return source.jobs[0], source.notes


def _interpreter(chosen: str | None) -> str:
    """Return the interpreter's path as it is: resolving links would leave its virtual environment."""
    if chosen is None:
        return sys.executable
    path = shutil.which(chosen)
    if path is None:
        thing, message = "--python", f"{chosen} is not a program that can be run"
        raise CannotRun(thing, message, "give the path of an interpreter")
    _check_version(path)
    return str(Path(path).absolute())


def _check_version(python: str) -> None:
    """Refuse what can't run the agent before anything is started."""
    try:
        asked = [python, "-c", "import sys; print('.'.join(map(str, sys.version_info[:3])))"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
        version = tuple(map(int, done.stdout.split(".")))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        raise CannotRun("--python", f"{python} is no Python", "give the path of an interpreter") from None
    if version < OLDEST_PYTHON:
        found, oldest = (".".join(map(str, numbers)) for numbers in (version, OLDEST_PYTHON))
        message = f"{python} is Python {found}, and ftjob needs {oldest} or newer"
        raise CannotRun("--python", message, "give the path of a newer interpreter")


def _summary(stream: TextIO, found: Found, status: JobStatus, outputs: OutputsFolder, seconds: float) -> None:
    here = Path.cwd()
    lines = [f"{found.job.name}: {status.phase} after {duration(seconds)}"]
    if status.failure is not None:
        lines.append(failure_text(status.failure))
    elif reason(status):
        lines.append(reason(status))
    if verdict(status):
        lines.append(f"verdict:  {verdict(status)}")
        lines += [f"          {found.next}" for found in findings(status)[:1] if found.next]
    if status.timeline is not None and time_line(status.timeline):
        lines.append(f"time:     {time_line(status.timeline)}")
    lines.append(f"outputs:  {shorten(outputs.path, here)} ({files.JOB}, {files.LOGS}/)")
    if outputs.has_report:
        lines.append(f"report:   {shorten(outputs.path / files.REPORT, here)}")
    lines += [f"profile:  {shorten(path, here)}" for path in profiles(outputs.path)]
    lines += [f"profile:  {text}" for text in missing_profiles(status)]
    if any((outputs.path / files.XPLANES).glob("*/*.xplane.pb")):
        lines.append(f"          tensorboard --logdir {shorten(outputs.path, here)}")
    say(*lines, stream=stream)
