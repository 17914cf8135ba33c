"""The options of `status`. ``--help`` has to be there at once: nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.jobs.options import job, verb

if TYPE_CHECKING:
    from ftjob.cli.jobs.options import Commands


def add(commands: Commands) -> None:
    """Add it."""
    status = verb(commands, "status", "say how a job is, and if it is not well why and what to do")
    job(status)
    status.add_argument("-o", "--output", choices=["text", "json", "yaml"], default="text")
    status.set_defaults(module="ftjob.cli.look.status")
