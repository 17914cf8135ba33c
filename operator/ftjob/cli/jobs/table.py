"""``ftjob list``: one line for each job."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import client, exit_code
from ftjob.cli.terminal import one_line, say
from ftjob.client.errors import ClusterError
from ftjob.models.manifest import gpus_of, mapping, trainer_in
from ftjob.models.names import GROUP, KUEUE_LABEL, PLURAL
from ftjob.models.times import age, unix

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from rich.text import Text

    from ftjob.client import Client, JobHandle
    from ftjob.models.status import JobStatus

COLUMNS = ("NAME", "STRATEGY", "PHASE", "WORKERS", "GPUS", "PROGRESS", "ETA", "QUEUE", "AGE", "REASON")
ENDED_SHOWN = 10
REASON_CHARACTERS = 60
UNREADABLE = "another version has written its status"
FLEETING = {"ETA", "AGE"}
"""What is another one a moment later: no change of the job."""
LEAST = {"NAME": 24, "STRATEGY": 10, "PHASE": 10}
"""Characters of columns, where a line is printed before the next one is known."""
DRAWN_A_SECOND = 2


def main(args: argparse.Namespace) -> int:
    """Print the jobs; with `--watch` also all that changes, until Ctrl-C."""

    def verb() -> int:
        cluster = client(args)
        if not args.watch:
            print(
                _text(
                    args, cluster.namespace, _chosen(args, cluster.list(all_namespaces=args.all_namespaces))
                ),
                end="",
            )
        elif args.output == "text" and sys.stdout.isatty():
            _draw(args, cluster)
        else:
            _print_changes(args, cluster)
        return SUCCEEDED

    return exit_code(verb)


def _chosen(args: argparse.Namespace, jobs: Sequence[JobHandle]) -> Sequence[JobHandle]:
    """Leave out those that ended before the last ten."""
    if args.all:
        return jobs
    ended = [job for job in jobs if _has_ended(job)]
    hidden = {id(job) for job in ended[ENDED_SHOWN:]}
    return [job for job in jobs if id(job) not in hidden]


def _has_ended(job: JobHandle) -> bool:
    return mapping(job.body, "status").get("phase") in {"Succeeded", "Failed"}


def _text(args: argparse.Namespace, namespace: str, jobs: Sequence[JobHandle]) -> str:
    if args.output == "json":
        return (
            json.dumps({"apiVersion": "v1", "kind": "List", "items": [job.body for job in jobs]}, indent=2)
            + "\n"
        )
    if args.output == "yaml":
        return str(yaml.safe_dump_all([job.body for job in jobs], sort_keys=False))
    if args.output == "name":
        return "".join(f"{_name(job)}\n" for job in jobs)
    if not jobs:
        say(_none(args, namespace))
        return ""
    return "".join(f"{line}\n" for line in _lines(jobs, time.time(), namespace=args.all_namespaces))


def _name(job: JobHandle) -> str:
    return f"{PLURAL}.{GROUP}/{job.name}"


def _none(args: argparse.Namespace, namespace: str) -> str:
    where = "any namespace" if args.all_namespaces else f"namespace {namespace}"
    return one_line(f"no jobs in {where}; `ftjob submit FILE` makes one, -A looks everywhere")


def _lines(jobs: Sequence[JobHandle], now: float, *, namespace: bool) -> Iterator[str]:
    """Return the table."""
    rows = [_names(namespace=namespace), *(row(job, now, namespace=namespace) for job in jobs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return (_line(cells, widths) for cells in rows)


def _names(*, namespace: bool) -> tuple[str, ...]:
    return ("NAMESPACE", *COLUMNS) if namespace else COLUMNS


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    text = "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return one_line(text.rstrip())


def row(job: JobHandle, now: float, *, namespace: bool) -> tuple[str, ...]:
    """Return what the table shows of a job."""
    spec, meta = mapping(job.body, "spec"), mapping(job.body, "metadata")
    try:
        status = job.status
    except ClusterError:
        cells = [
            job.name,
            str(spec.get("strategy", "")),
            "?",
            *[""] * 6,
            UNREADABLE,
        ]
        return (job.namespace, *cells) if namespace else tuple(cells)
    display = status.display
    workers = display.workers if display is not None else ""
    gpus = gpus_of(trainer_in(mapping(spec, "template"))) * sum(role.desired for role in status.roles)
    cells = [
        job.name,
        str(spec.get("strategy", "")),
        str(status.phase or "New"),
        workers,
        str(gpus) if gpus else "",
        display.progress if display is not None else "",
        display.eta if display is not None else "",
        queue_of(job.body),
        age(now - unix(str(meta.get("creationTimestamp")))),
        reason_of(status),
    ]
    return (job.namespace, *cells) if namespace else tuple(cells)


def queue_of(body: dict[str, Any]) -> str:
    """Return the queue that a job waits in: Kueue's, or its gang scheduler's."""
    label = mapping(body, "metadata", "labels").get(KUEUE_LABEL)
    return str(label or mapping(body, "spec", "scheduling").get("queue") or "")


def reason_of(status: JobStatus) -> str:
    """Return why a job is where it is, if that is not as it should be."""
    if status.phase in {"Running", "Succeeded"}:
        return (status.profile.verdict or "")[:REASON_CHARACTERS] if status.profile is not None else ""
    if status.failure is not None:
        last = status.failure.message.strip().splitlines()
        return (last[-1] if last else str(status.failure.reason))[:REASON_CHARACTERS]
    told = [each for each in status.conditions if each.type.value == status.phase or each.status == "False"]
    return (told[-1].message or told[-1].reason)[:REASON_CHARACTERS] if told else ""


def _draw(args: argparse.Namespace, cluster: Client) -> None:
    """Keep the table on the terminal as it is now: as much of it as fits there."""
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.live import Live  # noqa: PLC0415

    console = Console(highlight=False)
    watch = cluster.watch(all_namespaces=args.all_namespaces)
    jobs = next(watch)

    def table() -> Text:
        return _fitting(args, cluster.namespace, jobs, console.height)

    # It is drawn anew by the time, however fast changes come: ages grow, and a thousand jobs change at once.
    with Live(get_renderable=table, console=console, refresh_per_second=DRAWN_A_SECOND):
        for found in watch:
            jobs = found


def _fitting(args: argparse.Namespace, namespace: str, jobs: Sequence[JobHandle], height: int) -> Text:
    """Return the table in so many lines."""
    from rich.text import Text  # noqa: PLC0415

    chosen = _chosen(args, jobs)
    if not chosen:
        return Text(_none(args, namespace))
    most = max(1, height - 2)
    lines = list(_lines(chosen[:most], time.time(), namespace=args.all_namespaces))
    if len(chosen) > most:
        lines.append(f"and {len(chosen) - most} more jobs")
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _print_changes(args: argparse.Namespace, cluster: Client) -> None:
    """Print the jobs, then a line for each one that has changed."""
    known: Sequence[JobHandle] = []
    lines = _Changes(args)
    for jobs in cluster.watch(all_namespaces=args.all_namespaces):
        for kind, job in changes(known, jobs if known else _chosen(args, jobs)):
            lines.print(kind, job)
        if not (known or jobs):
            say(_none(args, cluster.namespace))
        known = jobs


def changes(before: Iterable[JobHandle], jobs: Sequence[JobHandle]) -> Iterator[tuple[str, JobHandle]]:
    """Yield what has become of jobs, as Kubernetes calls it: ADDED, MODIFIED or DELETED."""
    known = {job.uid: job for job in before}
    for job in jobs:
        old = known.pop(job.uid, None)
        if old is None:
            yield "ADDED", job
        elif _version(old) != _version(job):
            yield "MODIFIED", job
    yield from (("DELETED", job) for job in known.values())


def _version(job: JobHandle) -> Any:
    return mapping(job.body, "metadata").get("resourceVersion")


class _Changes:
    """Prints a line for each job that has changed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._output, self._namespace = args.output, args.all_namespaces
        self._widths: list[int] = []
        self._told: dict[str, list[str]] = {}

    def print(self, kind: str, job: JobHandle) -> None:
        """Print it, unless nothing has changed that is shown."""
        if self._output == "json":
            text = json.dumps({"type": kind, "object": job.body})
        elif self._output == "yaml":
            text = yaml.safe_dump({"type": kind, "object": job.body}, sort_keys=False, explicit_start=True)[
                :-1
            ]
        elif self._output == "name":
            text = _name(job)
        else:
            text = "\n".join(self._rows(kind, job))
        if text:
            print(text, flush=True)

    def _rows(self, kind: str, job: JobHandle) -> Iterator[str]:
        names = _names(namespace=self._namespace)
        cells = list(row(job, time.time(), namespace=self._namespace))
        if kind == "DELETED":
            cells[names.index("PHASE")] = "Deleted"
        lasting = [cell for name, cell in zip(names, cells, strict=True) if name not in FLEETING]
        if self._told.get(job.uid) == lasting:
            return
        self._told[job.uid] = lasting
        if kind == "DELETED":
            del self._told[job.uid]
        is_first = not self._widths
        if is_first:
            self._widths = [max(len(name), LEAST.get(name, 0)) for name in names]
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        if is_first:
            yield _line(names, self._widths)
        yield _line(cells, self._widths)
