"""``ftjob top``: what the steps of each rank take and use, drawn anew as it is told."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import exit_code, kubectl_options
from ftjob.cli.speed.find_job import find_job
from ftjob.cli.terminal import one_line
from ftjob.cli.top import source
from ftjob.cli.top.draw import draw
from ftjob.cli.top.figures import Ranks, as_json
from ftjob.cli.words import progress_line, verdict
from ftjob.client import ClusterError, JobInvalid
from ftjob.client.errors import NoSuchJob, Refused
from ftjob.client.patience import Patience
from ftjob.models.manifest import mapping
from ftjob.models.spec import ProfilingMode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from rich.console import Console
    from rich.text import Text

    from ftjob.cli.speed.find_job import FoundJob
    from ftjob.cli.top.draw import Drawn

DRAWN_A_SECOND = 2
STATUS_SECONDS = 10.0
PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 30.0
NOTHING = (
    "no figures yet: a rank tells of its steps in blocks of some seconds, which are written every ten "
    "seconds, of many ranks less often"
)


def main(args: argparse.Namespace) -> int:
    """Print one table, or show it until the job ends."""
    return exit_code(lambda: _top(args))


def _top(args: argparse.Namespace) -> int:
    job = find_job(args)
    if mapping(job.spec, "profiling").get("mode") == ProfilingMode.OFF:
        raise JobInvalid(
            f"{job.name}: spec.profiling.mode is Off, so nothing is measured; remove it and run the job anew"
        )
    if args.once or args.output == "json" or not sys.stdout.isatty():
        return _once(args, job)
    return _live(args, job)


def _lines(args: argparse.Namespace, job: FoundJob) -> Generator[bytes]:
    if job.handle is not None:
        return source.of_pod(job.handle, kubectl_options(args))
    assert job.outputs is not None
    return source.of_folder(job.outputs)


def _missing(job: FoundJob) -> str:
    return source.not_shared(job.handle) if job.handle is not None else ""


def _once(args: argparse.Namespace, job: FoundJob) -> int:
    """Print what is known after one look."""
    ranks = Ranks()
    with closing(_lines(args, job)) as lines:
        for line in lines:
            if not line:
                break
            ranks.add(line)
    if args.output == "json":
        known = {"job": job.name, "phase": job.status.phase, "verdict": verdict(job.status) or None}
        print(json.dumps(known | {"missing": _missing(job) or None} | as_json(ranks.table(None)), indent=2))
    else:
        texts = ("".join(text for text, _ in line).rstrip() for line in _page(job, ranks, _missing(job)))
        print("\n".join(texts))
    return SUCCEEDED


def _page(
    job: FoundJob, ranks: Ranks, note: str, *, width: int | None = None, colours: bool = False
) -> Drawn:
    """Return all that is shown."""
    status = job.status
    progress = progress_line(status.progress) if status.progress is not None else ""
    page: Drawn = [[(job.name, "bold"), (f"  {status.phase or 'New'}  {one_line(progress)}".rstrip(), "")]]
    if verdict(status):
        page.append([(one_line(verdict(status)), "yellow")])
    table = ranks.table()
    page += draw(table, time.time(), width=width, colours=colours) if table.rows else [[(NOTHING, "dim")]]
    if note:
        page.append([(one_line(note), "yellow")])
    return page


class _View:
    """What the terminal shows. A thread of its own draws it: ages grow while nobody tells anything."""

    def __init__(self, console: Console, job: FoundJob) -> None:
        self._console, self.job = console, job
        self._lock = threading.Lock()
        self.ranks = Ranks()
        self.note = ""

    def add(self, line: bytes) -> None:
        """Take a line of vitals."""
        with self._lock:
            self.ranks.add(line)

    def draw(self) -> Text:
        """Return the page as it is now."""
        from rich.text import Text  # noqa: PLC0415  only a terminal needs it

        colours = self._console.color_system is not None and not self._console.no_color
        with self._lock:
            page = _page(self.job, self.ranks, self.note, width=self._console.width, colours=colours)
        text = Text("\n").join(Text.assemble(*line) for line in page)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _live(args: argparse.Namespace, job: FoundJob) -> int:
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.live import Live  # noqa: PLC0415

    console = Console(highlight=False)
    view = _View(console, job)
    with Live(get_renderable=view.draw, console=console, refresh_per_second=DRAWN_A_SECOND):
        follow(args, view)
    return SUCCEEDED


def follow(args: argparse.Namespace, view: _View) -> None:
    """Keep the view current until the job has ended, over lost connections and new pods.

    Raises
    ------
    NoSuchJob
        It was deleted.
    ClusterError
        The cluster refuses, or was out of reach for two minutes; or the job had ended before.
    """
    watched, pause, has_figures = _Status(view), PAUSE_SECONDS, False
    while True:
        try:
            with closing(_lines(args, view.job)) as lines:
                for line in lines:
                    if line:
                        view.add(line)
                        has_figures = True
                        continue
                    pause, view.note = PAUSE_SECONDS, _missing(view.job)
                    if watched.has_ended:
                        return
                    watched.look()
        except (NoSuchJob, Refused):
            raise
        except ClusterError as error:
            view.note = str(error)
            watched.look(at_once=True)
            if watched.has_ended and not has_figures:
                raise
        if watched.has_ended:
            return
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        watched.look(at_once=True)


class _Status:
    """Looks at the job now and then."""

    def __init__(self, view: _View) -> None:
        self._view = view
        self._due = 0.0
        self._patience = Patience()

    @property
    def has_ended(self) -> bool:
        """Whether it has, as of the last look."""
        phase = self._view.job.status.phase
        return phase is not None and phase.is_final

    def look(self, *, at_once: bool = False) -> None:
        """Look, if it is time to."""
        now = time.monotonic()
        if now < self._due and not at_once:
            return
        self._due = now + STATUS_SECONDS
        try:
            self._view.job = self._view.job.again()
            self._patience.heard()
        except (NoSuchJob, Refused):
            raise
        except ClusterError as error:
            self._patience.lost(error)
