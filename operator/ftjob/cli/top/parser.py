"""The options of `top`. ``--help`` has to be there at once: nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.jobs.options import job_or_folder, verb

if TYPE_CHECKING:
    from ftjob.cli.jobs.options import Commands


def add(commands: Commands) -> None:
    """Add them."""
    top = verb(commands, "top", "show what the steps of each rank take and use, as it runs")
    job_or_folder(top)
    top.add_argument("--once", action="store_true", help="print one table (default if stdout is no terminal)")
    top.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="json: one snapshot of all ranks"
    )
    top.set_defaults(module="ftjob.cli.top.top")
