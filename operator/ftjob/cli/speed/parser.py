"""The options of the verbs about speed. ``--help`` has to be there at once: nothing is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.jobs.options import job_or_folder, verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftjob.cli.jobs.options import Commands


def add(commands: Commands, seconds: Callable[[str], float]) -> None:
    """Add them."""
    why = verb(commands, "why", "say why a job does not run, has failed or is slow, and what to do")
    job_or_folder(why)
    why.add_argument(
        "-o", "--output", choices=["text", "json"], default="text", help="json: the same for programs"
    )
    why.set_defaults(module="ftjob.cli.speed.why")
    _add_profile(commands, seconds)
    _add_report(commands)
    diff = commands.add_parser("diff", help="say what has changed between two jobs", allow_abbrev=False)
    for name in ("before", "after"):
        diff.add_argument(
            name, metavar=name.upper(), help="outputs, the folder of a capture, or a summary.json"
        )
    diff.set_defaults(module="ftjob.cli.speed.diff")


def _add_profile(commands: Commands, seconds: Callable[[str], float]) -> None:
    profile = verb(commands, "profile", "capture some steps of a job that runs, as it runs")
    job_or_folder(profile)
    length = profile.add_mutually_exclusive_group()
    length.add_argument("--steps", metavar="N", type=int, help="how many steps (default: 5)")
    length.add_argument("--seconds", metavar="S", type=seconds, help="or for how long")
    profile.add_argument("--ranks", metavar="LIST", help='such as "0,3-5" (default: as spec.profiling says)')
    profile.add_argument("--stacks", action="store_true", help="sample Python's stacks too")
    profile.add_argument(
        "--id", metavar="ID", help="the capture's folder below captures/ (default: by the time)"
    )
    profile.add_argument("--wait", action="store_true", help="print its phases to the end")
    profile.set_defaults(module="ftjob.cli.speed.profile")


def _add_report(commands: Commands) -> None:
    report = verb(commands, "report", "write a page that says why a job is slow")
    job_or_folder(report)
    report.add_argument("--capture", metavar="ID", help="of this capture, anew from its raw files")
    report.add_argument(
        "--ranks",
        metavar="LIST",
        help='whose timeline: "0,3-5", eight at most (default: those that tell most)',
    )
    report.add_argument(
        "--raw", action="store_true", help="fetch the raw traces too, of a job in the cluster"
    )
    report.add_argument(
        "--open", action="store_true", help="show it in a browser, with the timeline, until Ctrl-C"
    )
    report.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: the outputs)")
    report.set_defaults(module="ftjob.cli.speed.report")
