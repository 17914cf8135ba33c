"""``ftjob submit``: validate, ask the API server whether it would take it, create, and follow to the end."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import client, exit_code, must_be_valid
from ftjob.cli.jobs.logs import show
from ftjob.cli.jobs.settings import apply
from ftjob.cli.source import SourceError, read
from ftjob.cli.terminal import one_line, say
from ftjob.client import JobInvalid
from ftjob.client.client import user
from ftjob.models.manifest import mapping
from ftjob.models.names import JOB_NAME_MAX, KIND

if TYPE_CHECKING:
    import argparse


def main(args: argparse.Namespace) -> int:
    """Create the job of a file."""
    return exit_code(lambda: _submit(args))


def _submit(args: argparse.Namespace) -> int:
    body = _body(args)
    if args.dry_run:
        print(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), end="")
        return SUCCEEDED
    cluster = client(args)
    cluster.submit(body, dry_run=True)
    job = cluster.submit(body)
    if args.detach:
        print(json.dumps(job.body) if args.output == "json" else job.name)
        say(one_line(f"`ftjob logs {job.name}` follows it, `ftjob stop {job.name}` stops it"))
        return SUCCEEDED
    say(one_line(f"{job.name} was created; Ctrl-C ends only this command, `ftjob stop {job.name}` the job"))
    return show(job)


def _body(args: argparse.Namespace) -> dict[str, Any]:
    """Return the one job of the file, as it will be created."""
    try:
        source = read(args.file, args.namespace)
    except SourceError as error:
        raise JobInvalid(str(error)) from None
    if len(source.jobs) != 1:
        raise JobInvalid(f"{args.file}: {len(source.jobs)} of kind {KIND}; submit one job at a time")
    body = source.jobs[0].body
    meta = mapping(body, "metadata")
    if not meta.get("name"):
        meta["name"] = name_for(args.file)
        body["metadata"] = meta
    apply(body, args.set or [])
    found = source.jobs[0]
    if found.problems and not args.set:  # with the lines where they stand
        raise JobInvalid("\n".join(found.complaints()))
    must_be_valid(body)
    return body


def name_for(script: str) -> str:
    """Return ``<user>-<script>-<4>`` as a name that a job may have."""
    stem = re.sub(r"\.[^./]*$", "", script).rpartition("/")[2]
    text = re.sub(r"[^a-z0-9]+", "-", f"{user()}-{stem}".lower()).strip("-")
    if not text or not text[0].isalpha():
        text = f"job-{text}".strip("-")
    return f"{text[: JOB_NAME_MAX - 5].rstrip('-')}-{secrets.token_hex(2)}"
