"""The outputs of a job as a place to report from and to: which files are read, which are written."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from ftjob.insight.collect.capture import NoCaptureError, captures, collect, write_timeline
from ftjob.insight.collect.job import body_of
from ftjob.insight.collect.whole import whole_job
from ftjob.insight.marked import is_ours
from ftjob.insight.page.render import render
from ftjob.insight.summary import LIMIT, SummaryError, decode, encode
from ftjob_protocol import files
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ftjob.insight.collect.capture import Collected
    from ftjob.insight.summary import Summary

SUMMARY = "summary.json"


class ReportError(Exception):
    """There is nothing to report from; the message says what to do."""


def keep_job(path: Path, told: str) -> None:
    """Write ``job.yaml`` into the outputs, as `ftjob run` does; a stranger's file of that name stays."""
    with _opened(path) as outputs:
        if not outputs.has(files.JOB) or body_of(outputs).get("kind") == json.loads(told)["kind"]:
            outputs.write(files.JOB, told.encode())


def report_capture(path: Path, capture: str, merged: Sequence[int] = ()) -> None:
    """Read a capture, and write its summary, its report and one timeline, of some ranks, into its folder."""
    with _opened(path) as outputs:
        found = _collected(outputs, capture, merged)
        write_timeline(outputs, found)
        with outputs.enter(files.capture(capture)) as folder:
            folder.write(SUMMARY, encode(found.summary))
            folder.write(files.REPORT, render(found.summary).encode())


def report_job(path: Path) -> None:
    """Write the job's report.

    Raises
    ------
    ReportError
        A file of somebody else's has its name: it stays as it is.
    """
    with _opened(path) as outputs:
        if outputs.has(files.REPORT) and not is_ours(outputs):
            raise ReportError(
                f"{path / files.REPORT} was not written by ftjob, so it stays; give another file with -o"
            )
        outputs.write(files.REPORT, render(_of_job(outputs)).encode())


def _of_job(outputs: Folder) -> Summary:
    found = []
    for capture in captures(outputs):
        with suppress(ReportError):  # no rank has left anything yet
            found.append(_stored(outputs, capture))
    summary = whole_job(outputs, found)
    if summary is None:
        raise ReportError("these are no outputs of a job: there is no job.yaml, no vitals and no captures")
    return summary


def summary_of(path: Path, capture: str = "") -> Summary:
    """Return the summary that a path means: a file, the folder of a capture, or a job's outputs.

    Raises
    ------
    ReportError, SummaryError
        There is none.
    """
    if capture:
        with _opened(path) as outputs:
            return _collected(outputs, capture).summary
    if path.is_dir():
        if path.absolute().parent.name == files.CAPTURES:
            with _opened(path.absolute().parent.parent) as outputs:
                return _stored(outputs, path.absolute().name)
        with _opened(path) as outputs:
            return _of_job(outputs)
    if not path.exists():
        raise ReportError(f"{path}: there is no such file or folder")
    try:
        with path.open("rb") as file:
            return decode(file.read(LIMIT), str(path))
    except OSError as error:
        raise ReportError(f"{path}: it can't be read: {error.strerror}") from None


def _stored(outputs: Folder, capture: str) -> Summary:
    """Return the summary of a capture: the one that was written, else a new one."""
    try:
        with outputs.enter(files.capture(capture)) as folder:
            return decode(folder.read(SUMMARY, LIMIT), f"{capture}/{SUMMARY}")
    except (OSError, SummaryError):
        return _collected(outputs, capture).summary


def _collected(outputs: Folder, capture: str, merged: Sequence[int] = ()) -> Collected:
    try:
        return collect(outputs, capture, merged)
    except NoCaptureError as error:
        raise ReportError(str(error)) from None


def _opened(path: Path) -> Folder:
    try:
        return Folder(str(path))
    except FileNotFoundError:
        raise ReportError(f"{path}: there is no such folder; give the outputs of a job") from None
    except NotADirectoryError:
        raise ReportError(f"{path}: it is no folder; give the outputs of a job") from None
    except OSError as error:
        raise ReportError(f"{path}: it can't be opened: {error.strerror}") from None
