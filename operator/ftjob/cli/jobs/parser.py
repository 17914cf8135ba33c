"""The options of the verbs for jobs in a cluster. ``--help`` has to be there at once: nothing is imported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ftjob.cli.jobs.options import job as _job
from ftjob.cli.jobs.options import verb as _verb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ftjob.cli.jobs.options import Commands


def add(commands: Commands, seconds: Callable[[str], float]) -> None:
    """Add them."""
    _add_submit(commands)
    _add_list(commands)
    _add_logs(commands)
    wait = _verb(commands, "wait", "wait until a job has ended, or runs; its exit code is the job's")
    _job(wait)
    wait.add_argument(
        "--for", dest="until", choices=["Running", "Finished"], default="Finished", help="(default: Finished)"
    )
    wait.add_argument("--timeout", metavar="S", type=seconds, help="give up with 124 after so many seconds")
    wait.set_defaults(module="ftjob.cli.jobs.wait")
    for name, text in (
        ("stop", "end a job's pods for now; `resume` goes on"),
        ("resume", "let a stopped job go on"),
    ):
        verb = _verb(commands, name, text)
        _job(verb)
        verb.set_defaults(module="ftjob.cli.jobs.change")
    delete = _verb(commands, "delete", "delete jobs with their pods")
    delete.add_argument("jobs", metavar="JOB", nargs="*", help="(default: your newest job)")
    delete.add_argument("-y", "--yes", action="store_true", help="without a question")
    delete.set_defaults(module="ftjob.cli.jobs.change", job=None)
    rerun = _verb(commands, "rerun", "submit a job once more, by a new name")
    _job(rerun)
    _set(rerun)
    rerun.set_defaults(module="ftjob.cli.jobs.rerun")


def _add_submit(commands: Commands) -> None:
    submit = _verb(commands, "submit", "create a job in the cluster and follow it to its end")
    submit.usage = "ftjob submit [OPTION...] FILE\n       ftjob submit --image IMAGE [OPTION...] -- COMMAND"
    submit.add_argument(
        "words", metavar="FILE", nargs="*", help="a YAML file with one job; - is stdin. Or the ranks' command"
    )
    add_code(submit)
    submit.add_argument(
        "--name", metavar="NAME", help="the job's (default: that of FILE, or <user>-<script>-<4 digits>)"
    )
    _set(submit)
    submit.add_argument("--detach", action="store_true", help="print its name and return")
    submit.add_argument(
        "--dry-run", action="store_true", help="print the YAML that would be created, and create nothing"
    )
    submit.add_argument(
        "-o", "--output", choices=["name", "json"], default="name", help="what --detach prints"
    )
    _add_image(submit)
    submit.set_defaults(module="ftjob.cli.jobs.submit")


def add_code(verb: argparse.ArgumentParser) -> None:
    """Add what brings code along, also with `ftjob run`."""
    verb.add_argument(
        "--code",
        metavar="DIR",
        help="run in a copy of this folder: the files that git knows or would, less those of .ftjobignore",
    )


def _add_image(submit: argparse.ArgumentParser) -> None:
    group = submit.add_argument_group("a job without a file")
    group.add_argument("--image", metavar="IMAGE", help="what the ranks run in, and behind -- what they run")
    group.add_argument(
        "--strategy",
        metavar="NAME",
        help="how ranks work together: Torchrun, Horovod, ... (Plain where there is but one rank)",
    )
    group.add_argument("--workers", metavar="N", type=int, help="pods (default: 1)")
    group.add_argument(
        "--processes", metavar="P", type=int, help="ranks a pod (default: one for each GPU, or 1)"
    )
    group.add_argument("--gpus", metavar="G", type=int, help="NVIDIA GPUs of each pod")
    group.add_argument("--cpu", metavar="AMOUNT", help="cores of each pod, as request and limit")
    group.add_argument("--memory", metavar="AMOUNT", help="memory of each pod, as request and limit")
    group.add_argument("--env", metavar="K=V", action="append", help="a variable of the ranks; repeatable")
    group.add_argument("--queue", metavar="NAME", help="the queue of Kueue that the job waits in")
    group.add_argument("--claim", metavar="NAME", help="the PersistentVolumeClaim that outputs go to")


def _add_list(commands: Commands) -> None:
    table = _verb(commands, "list", "show jobs that run, wait or have ended lately")
    table.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    table.add_argument("--all", action="store_true", help="also those that ended before the last ten")
    table.add_argument("-w", "--watch", action="store_true", help="go on with all changes until Ctrl-C")
    table.add_argument("-o", "--output", choices=["text", "json", "yaml", "name"], default="text")
    table.set_defaults(module="ftjob.cli.jobs.table")


def _add_logs(commands: Commands) -> None:
    logs = _verb(commands, "logs", "print what a job's ranks write, to its end")
    _job(logs)
    logs.add_argument("--ranks", metavar="LIST", help='whose lines, such as "0,3-5" (default: all)')
    logs.add_argument("--grep", metavar="RE", help="only lines in which this regular expression is found")
    logs.add_argument("--since", metavar="TIME", type=_duration, help="only of the last, say, 30s, 10m or 2h")
    logs.add_argument("--tail", metavar="N", type=int, help="of what there is, the last lines of each rank")
    logs.add_argument("--attempt", metavar="N", type=int, help="only of this attempt; the first is 0")
    logs.add_argument(
        "--no-follow", dest="follow", action="store_false", help="print what there is now, and return"
    )
    logs.add_argument(
        "-o",
        "--output",
        choices=["text", "raw", "json"],
        default="text",
        help="raw: without marks, as the ranks wrote it; json: an object for each line",
    )
    logs.set_defaults(module="ftjob.cli.jobs.logs")


def _duration(text: str) -> float:
    """Read 90, 30s, 10m, 1h30m or 2d as seconds."""
    if text.isdecimal():
        return float(text)
    if not re.fullmatch(r"(\d+d)?(\d+h)?(\d+m)?(\d+s)?", text) or not text:
        raise ValueError
    units = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


_duration.__name__ = "time such as 10m"


def _set(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", help="change a field, as spec.workers=4; repeatable"
    )
