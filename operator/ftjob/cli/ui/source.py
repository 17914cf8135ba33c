"""Where jobs come from: what the page asks of folders and clusters alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ftjob.cli.ui.views import Detail, Listing, Log


class UnknownError(Exception):
    """There is no such job, or nothing of the kind; the text says why."""


class Source(Protocol):
    """Jobs. Each method may take long, and raise whatever keeps it from an answer."""

    @property
    def title(self) -> str:
        """What the page is about."""

    def listing(self) -> Listing:
        """Return all jobs."""

    def detail(self, key: str) -> Detail:
        """Return one job."""

    def log(self, key: str, rank: int) -> Log:
        """Return the last lines of a rank."""

    def speed(self, key: str) -> bytes:
        """Return the curves of the past and the map of ranks, as JSON."""

    def report(self, key: str, capture: str) -> str:
        """Return the report of a job, or of one of its captures, as HTML."""
