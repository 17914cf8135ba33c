"""``ftjob report``: one HTML file that says why a job, or one capture of it, is slow."""

from __future__ import annotations

import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import FAILED, INVALID, SUCCEEDED
from ftjob.cli.terminal import one_line, say, shown
from ftjob.cli.words import shorten
from ftjob.insight import child
from ftjob.insight.marked import REPORT
from ftjob.insight.page.render import render
from ftjob.insight.serve import VIEWER, Server, viewer
from ftjob.insight.summary import Summary, SummaryError
from ftjob_protocol import files

if TYPE_CHECKING:
    import argparse

TRACE = "merged.trace.json.gz"
_NO_VIEWER = "the timeline needs Perfetto's user interface: pip install 'ftjob[viewer]'"


def main(args: argparse.Namespace) -> int:
    """Write the report, or show it."""
    path, capture = Path(args.dir), args.capture or ""
    if not path.is_dir():
        what = "it is no folder" if path.exists() else "there is no such folder"
        say(f"{path}: {what}; give the outputs of a job, such as ./ftjob-outputs/NAME")
        return INVALID
    try:
        if args.output or args.open:
            summary = child.summary(path, capture)
        else:
            child.write(path, capture)
            written = (path / files.capture(capture) if capture else path) / REPORT
            print(f"report: {shorten(written.absolute(), Path.cwd())}")
            return SUCCEEDED
    except (child.CollectorError, SummaryError) as error:
        say(one_line(str(error)))
        return FAILED
    if args.output:
        try:
            Path(args.output).write_text(render(summary), encoding="utf-8")
        except OSError as error:
            say(one_line(f"{args.output}: {error.strerror}"))
            return FAILED
        print(f"report: {args.output}")
    if args.open:
        _serve(path, summary)
    print(shown(summary.verdict.text))
    return SUCCEEDED


def _serve(path: Path, summary: Summary) -> None:
    """Show the report until the user ends the command."""
    trace = _trace(path, summary)
    interface = viewer() if trace is not None else None
    if trace is not None and interface is None:
        say(_NO_VIEWER)
    page = render(summary, timeline=VIEWER if interface is not None else "")
    with Server(page, trace, interface) as server:
        print(f"{server.url}\nCtrl-C ends it", flush=True)
        threading.Thread(target=webbrowser.open, args=[server.url], daemon=True).start()
        with suppress(KeyboardInterrupt):
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
