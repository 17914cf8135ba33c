"""``ftjob report``: one HTML file that says why a job, or one capture of it, is slow."""

from __future__ import annotations

import threading
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import FAILED, SUCCEEDED
from ftjob.cli.jobs.common import exit_code, kubectl_options
from ftjob.cli.speed.fetch import fetch
from ftjob.cli.speed.find_job import NoJobError, find_job, is_of_cluster
from ftjob.cli.terminal import one_line, say, shown
from ftjob.cli.words import shorten
from ftjob.client import JobInvalid
from ftjob.insight import child
from ftjob.insight.page.render import render
from ftjob.insight.serve import VIEWER, Server, viewer
from ftjob.insight.summary import MERGED, Summary, SummaryError
from ftjob_protocol import files
from ftjob_protocol.values.ranges import format_ranges, merge, parse_ranges

if TYPE_CHECKING:
    import argparse

TRACE = "merged.trace.json.gz"
_NO_VIEWER = "the timeline needs Perfetto's user interface: pip install 'ftjob[viewer]'"


def main(args: argparse.Namespace) -> int:
    """Write the report, or show it."""
    return exit_code(lambda: _report(args))


def _report(args: argparse.Namespace) -> int:
    ranks = _ranks(args)
    found = _outputs(args)
    try:
        is_kept = bool(ranks) or not (args.output or args.open)
        summary = _written(found, args.capture or "", ranks, is_kept=is_kept)
    except (child.CollectorError, SummaryError) as error:
        say(one_line(f"{error}{found.remedy}"))
        return FAILED
    if args.output:
        try:
            Path(args.output).write_text(render(summary), encoding="utf-8")
        except OSError as error:
            say(one_line(f"{args.output}: {error.strerror}"))
            return FAILED
        print(f"report: {args.output}")
    if args.open:
        _serve(found.path, summary)
    if args.output or args.open or found.is_fetched:
        print(shown(summary.verdict.text))
    return SUCCEEDED


class RanksError(JobInvalid):
    """There can be no timeline of the ranks that were asked for; the text says why, and what to do."""


def _ranks(args: argparse.Namespace) -> str:
    """Return whose timeline is wanted, as ranges; empty: of those that tell most.

    Raises
    ------
    RanksError
        They can't be read, are too many, or there is nothing to choose them from.
    """
    if args.ranks is None:
        return ""
    if not args.capture:
        raise RanksError("--ranks chooses whose timeline a capture has: name it by --capture ID")
    if args.output:
        raise RanksError(
            "--ranks writes the timeline into the outputs, and -o nothing: leave out one of them"
        )
    try:
        ranges = parse_ranges(args.ranks)
    except ValueError:
        ranges = ()
    if not ranges or not all(ranges):
        raise RanksError(f"--ranks {args.ranks}: it is no list of ranks such as 0,3-5")
    together = merge(ranges)
    count = sum(found.stop - found.start for found in together)
    if count > MERGED:
        raise RanksError(
            f"--ranks {args.ranks}: these are {count} ranks, and a timeline has {MERGED} at most"
        )
    return format_ranges(together)


@dataclass(frozen=True)
class Outputs:
    """A folder to report from."""

    path: Path
    is_fetched: bool = False
    has_raw: bool = True

    @property
    def remedy(self) -> str:
        """What else can be done where there is nothing to report."""
        return "" if self.has_raw else "; --raw fetches the raw traces, too"


def _outputs(args: argparse.Namespace) -> Outputs:
    """Return the folder of a run on this machine, or one into which a job's outputs were fetched.

    Raises
    ------
    NoJobError, ClusterError, RanksError
        There is none, or one without what is wanted of it.
    """
    if args.job is not None and not is_of_cluster(args):
        path = Path(args.job)
        if path.is_dir():
            return Outputs(path)
        if "/" in args.job or path.exists():
            what = "it is no folder" if path.exists() else "there is no such folder"
            raise NoJobError(f"{path}: {what}; give the outputs of a job, such as ./ftjob-outputs/NAME")
    job = find_job(args)
    if job.outputs is not None:
        return Outputs(job.outputs)
    if args.ranks and not args.raw:
        raise RanksError("--ranks needs the traces of a job in the cluster: add --raw, which fetches them")
    assert job.handle is not None
    return Outputs(fetch(job.handle, kubectl_options(args), raw=args.raw), is_fetched=True, has_raw=args.raw)


def _written(found: Outputs, capture: str, ranks: str, *, is_kept: bool) -> Summary:
    """Return a summary; if it is to be kept, with its report written beside what it was made of."""
    folder = found.path / files.capture(capture) if capture else found.path
    if capture and not found.has_raw:  # the collector in the cluster has read them
        if not (folder / files.REPORT).is_file():
            raise child.CollectorError(f"there is no report of capture {capture} in the outputs")
        summary = child.summary(folder)
    elif is_kept:
        child.write(found.path, capture, ranks)
        summary = child.summary(folder)
    else:
        summary = child.summary(found.path, capture)
    if is_kept:
        print(f"report: {shorten((folder / files.REPORT).absolute(), Path.cwd())}")
    return summary


def _serve(path: Path, summary: Summary) -> None:
    """Show the report until the user ends the command."""
    trace = _trace(path, summary)
    interface = viewer() if trace is not None else None
    if trace is not None and interface is None:
        say(_NO_VIEWER)
    page = render(summary, timeline=VIEWER if interface is not None else "")
    with Server(page, trace, interface) as server, suppress(KeyboardInterrupt):
        print(f"{server.url}\nCtrl-C ends it", flush=True)
        threading.Thread(target=webbrowser.open, args=[server.url], daemon=True).start()
        server.serve_forever()


def _trace(path: Path, summary: Summary) -> Path | None:
    """Return the timeline of the capture, and make it if it is missing."""
    if summary.capture is None or not summary.capture.merged:
        return None
    trace = path / files.capture(summary.capture.id) / TRACE
    if not trace.is_file():
        try:
            child.write(path, summary.capture.id)
        except child.CollectorError as error:
            say(one_line(f"no timeline: {error}"))
    return trace if trace.is_file() else None
