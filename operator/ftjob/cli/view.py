"""What ``ftjob run`` shows: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from ftjob.cli.terminal import coloured, shown
from ftjob.cli.words import duration, findings, progress_line, verdict

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table

    from ftjob.local.runner import RankState
    from ftjob.models.status import JobStatus, Phase

PROGRESS_SECONDS = 5.0
ROWS = 16
"""Ranks in the live table; more would push the logs off the screen."""

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
STATES = {"Running": "cyan", "Succeeded": "green", "Failed": "red", "Stopped": "yellow"}


class PlainView:
    """Lines for a pipe or a file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._phase: Phase | None = None
        self._shown = ""
        self._verdict = ""
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Print a note."""
        self._print(f"ftjob: {text}")

    def line(self, rank: int, text: str) -> None:
        """Print a rank's line after its name."""
        self._print(f"[rank {rank}] {text}")

    def update(self, status: JobStatus, ranks: tuple[RankState, ...]) -> None:
        """Print a change of phase or verdict at once, and progress now and then."""
        now = time.monotonic()
        is_last = status.phase is not None and status.phase.is_final
        text = progress_line(status.progress) if status.progress is not None else ""
        if text and text != self._shown and (is_last or now >= self._next):
            self._next, self._shown = now + PROGRESS_SECONDS, text
            self._print(f"ftjob: {text}")
        if verdict(status) != self._verdict:
            self._verdict = verdict(status)
            self._print(f"ftjob: {self._verdict}")
        if status.phase is not self._phase:
            self._phase = status.phase
            self._print(f"ftjob: {status.phase}")

    def _print(self, text: str) -> None:
        self._stream.write(f"{shown(text)}\n")
        self._stream.flush()


class QuietView(PlainView):
    """Nothing but notes, which may explain a failure."""

    def line(self, rank: int, text: str) -> None:
        """Print nothing."""

    def update(self, status: JobStatus, ranks: tuple[RankState, ...]) -> None:
        """Print nothing."""


class LiveView:
    """A table that stays at the bottom, and the ranks' lines above it."""

    def __init__(self, console: Console, title: str) -> None:
        from rich.live import Live  # noqa: PLC0415  only a terminal needs it

        self._console = console
        self._title = title
        self._start = time.monotonic()
        self._live: Live = Live(console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """Print a note above the table."""
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text(f"ftjob: {shown(text)}", style="yellow"))

    def line(self, rank: int, text: str) -> None:
        """Print a rank's line above the table, with its own colours."""
        from rich.text import Text  # noqa: PLC0415

        prefix = (f"[rank {rank}] ", COLOURS[rank % len(COLOURS)])
        self._console.print(Text.assemble(prefix, Text.from_ansi(coloured(text))), soft_wrap=True)

    def update(self, status: JobStatus, ranks: tuple[RankState, ...]) -> None:
        """Draw the table anew."""
        self._live.update(self._draw(status, ranks))

    def _draw(self, status: JobStatus, ranks: tuple[RankState, ...]) -> Group:
        from rich.console import Group  # noqa: PLC0415
        from rich.padding import Padding  # noqa: PLC0415
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        head = Text.assemble(
            (self._title, "bold"), "  ", str(status.phase), "  ", duration(time.monotonic() - self._start)
        )
        if status.progress is not None:
            head.append(f"  {progress_line(status.progress)}")
        parts: list[Text | Padding | Table] = [head]
        if verdict(status):
            parts.append(Text(shown(verdict(status)), style="yellow" if findings(status) else "dim"))
        if status.progress is not None and status.progress.percent is not None:
            bar = ProgressBar(total=100, completed=status.progress.percent, width=60)
            parts.append(Padding(bar, 0))  # a bar alone does not end its line
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("RANK", "WORKER", "STATE", "STEP"):
            table.add_column(name)
        for rank in ranks[:ROWS]:
            table.add_row(
                Text(str(rank.rank), style=COLOURS[rank.rank % len(COLOURS)]),
                rank.worker,
                Text(rank.state, style=STATES.get(rank.state, "")),
                _step(rank),
            )
        parts.append(table)
        if len(ranks) > ROWS:
            parts.append(Text(f"and {len(ranks) - ROWS} more ranks", style="dim"))
        return Group(*parts)


def _step(rank: RankState) -> str:
    if rank.step is None:
        return ""
    return f"{rank.step}/{rank.total_steps}" if rank.total_steps else str(rank.step)


def choose_view(stream: TextIO, title: str, *, quiet: bool) -> PlainView | LiveView:
    """Return the view that suits where the text goes."""
    if quiet:
        return QuietView(sys.stderr)
    if not stream.isatty():
        return PlainView(stream)
    from rich.console import Console  # noqa: PLC0415

    return LiveView(Console(file=stream, highlight=False), title)
