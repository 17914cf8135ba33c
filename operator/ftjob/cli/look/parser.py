"""The options of `shell`, `status` and `doctor`. ``--help`` has to be there at once: nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.jobs.options import job, verb

if TYPE_CHECKING:
    from ftjob.cli.jobs.options import Commands


def add(commands: Commands) -> None:
    """Add them."""
    shell = verb(commands, "shell", "open a shell beside a rank, or run a command there")
    job(shell)
    shell.add_argument("--rank", metavar="N", type=int, default=0, help="(default: 0)")
    shell.usage = "%(prog)s [-h] [OPTION ...] [--rank N] [JOB] [-- CMD ...]"
    shell.epilog = "CMD is run with the environment that the rank has (default: bash, else sh)"
    shell.set_defaults(module="ftjob.cli.look.shell")
    status = verb(commands, "status", "say how a job is, and if it is not well why and what to do")
    job(status)
    status.add_argument("-o", "--output", choices=["text", "json", "yaml"], default="text")
    status.set_defaults(module="ftjob.cli.look.status")
    doctor = verb(commands, "doctor", "say whether a cluster is fit for jobs, and what to do")
    doctor.add_argument("--run", action="store_true", help="also run a job of two workers, and delete it")
    doctor.add_argument(
        "--image",
        metavar="IMAGE",
        default="python:3.12-slim",
        help="what --run runs, with Python 3.9 or newer in it (default: python:3.12-slim)",
    )
    doctor.add_argument("-o", "--output", choices=["text", "json"], default="text")
    doctor.set_defaults(module="ftjob.cli.look.doctor")
