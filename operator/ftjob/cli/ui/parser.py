"""The options of `ui`. ``--help`` has to be there at once: nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.jobs.options import verb

if TYPE_CHECKING:
    from ftjob.cli.jobs.options import Commands


def add(commands: Commands) -> None:
    """Add them."""
    ui = verb(commands, "ui", "show jobs in a browser: curves, map of ranks, logs, reports")
    ui.add_argument(
        "folders",
        metavar="DIR",
        nargs="*",
        help="outputs of a run on this machine, or a folder with several (default: jobs in the cluster)",
    )
    ui.add_argument("--port", metavar="N", type=_port, default=0, help="(default: one that is free)")
    ui.add_argument("--open", action="store_true", help="open the page in a browser")
    ui.set_defaults(module="ftjob.cli.ui.command")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise ValueError
    return port


_port.__name__ = "port"
