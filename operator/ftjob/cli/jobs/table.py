"""``ftjob list``: one line for each job."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, NoReturn

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
    from collections.abc import Sequence

    from ftjob.client import Client, JobHandle

COLUMNS = ("NAME", "STRATEGY", "PHASE", "WORKERS", "GPUS", "PROGRESS", "ETA", "QUEUE", "AGE", "REASON")
ENDED_SHOWN = 10
REASON_CHARACTERS = 60
WATCH_SECONDS = 2.0
CLEAR = "\x1b[H\x1b[2J"


def main(args: argparse.Namespace) -> int:
    """Print the jobs; with `--watch` again whenever something has changed."""

    def verb() -> int:
        cluster = client(args)
        if args.watch:
            _watch(args, cluster)
        print(_text(args, cluster.namespace, _found(args, cluster)), end="")
        return SUCCEEDED

    return exit_code(verb)


def _found(args: argparse.Namespace, cluster: Client) -> list[JobHandle]:
    jobs = cluster.list(all_namespaces=args.all_namespaces)
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
        return "".join(f"{PLURAL}.{GROUP}/{job.name}\n" for job in jobs)
    if not jobs:
        where = "any namespace" if args.all_namespaces else f"namespace {namespace}"
        say(one_line(f"no jobs in {where}; `ftjob submit FILE` makes one, -A looks everywhere"))
        return ""
    now = time.time()
    names = ("NAMESPACE", *COLUMNS) if args.all_namespaces else COLUMNS
    rows = [names, *(row(job, now, namespace=args.all_namespaces) for job in jobs)]
    widths = [max(len(each[column]) for each in rows) for column in range(len(names))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(each, widths, strict=True)) for each in rows)
    return "".join(f"{one_line(line.rstrip())}\n" for line in lines)


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
            "another version has written its status",
        ]
        return (job.namespace, *cells) if namespace else tuple(cells)
    display = status.display
    workers = display.workers if display is not None else ""
    gpus = gpus_of(trainer_in(mapping(spec, "template"))) * sum(role.desired for role in status.roles)
    scheduling = mapping(spec, "scheduling")
    queue = mapping(meta, "labels").get(KUEUE_LABEL) or scheduling.get("queue") or ""
    cells = [
        job.name,
        str(spec.get("strategy", "")),
        str(status.phase or "New"),
        workers,
        str(gpus) if gpus else "",
        display.progress if display is not None else "",
        display.eta if display is not None else "",
        str(queue),
        age(now - unix(str(meta.get("creationTimestamp")))),
        _reason(job),
    ]
    return (job.namespace, *cells) if namespace else tuple(cells)


def _reason(job: JobHandle) -> str:
    """Return why a job is where it is, if that is not as it should be."""
    status = job.status
    if status.phase in {"Running", "Succeeded"}:
        return (status.profile.verdict or "")[:REASON_CHARACTERS] if status.profile is not None else ""
    if status.failure is not None:
        last = status.failure.message.strip().splitlines()
        return (last[-1] if last else str(status.failure.reason))[:REASON_CHARACTERS]
    told = [each for each in status.conditions if each.type.value == status.phase or each.status == "False"]
    return (told[-1].message or told[-1].reason)[:REASON_CHARACTERS] if told else ""


def _watch(args: argparse.Namespace, cluster: Client) -> NoReturn:
    """Print the table whenever it has changed: over the old one on a terminal, below it elsewhere."""
    before = ""
    while True:
        text = _text(args, cluster.namespace, _found(args, cluster))
        if text != before:
            before = text
            print(CLEAR * sys.stdout.isatty() + text, end="", flush=True)
        time.sleep(WATCH_SECONDS)
