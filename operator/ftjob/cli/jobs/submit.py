"""``ftjob submit``: validate, ask the API server whether it would take it, create, and follow to the end."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

import yaml

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs import from_image
from ftjob.cli.jobs.common import client, exit_code, must_be_valid
from ftjob.cli.jobs.logs import show
from ftjob.cli.jobs.settings import apply
from ftjob.cli.source import SourceError, read
from ftjob.cli.terminal import one_line, say
from ftjob.client import JobInvalid, bring_code
from ftjob.client.client import user
from ftjob.models.manifest import mapping
from ftjob.models.names import JOB_NAME_MAX, KIND

if TYPE_CHECKING:
    import argparse

    from ftjob.cli.source import Found
    from ftjob.code.pack import Archive


def main(args: argparse.Namespace) -> int:
    """Create the job of a file, or of an image and a command."""
    return exit_code(lambda: _submit(args))


def _submit(args: argparse.Namespace) -> int:
    code = bring_code.packed(args.code) if args.code is not None else None
    body = _body(args, code)
    if args.dry_run:
        brought = [bring_code.config_map(body, code)] if code is not None else []
        print(yaml.safe_dump_all([*brought, body], sort_keys=False, allow_unicode=True), end="")
        return SUCCEEDED
    cluster = client(args)
    cluster.submit(body, code=code, dry_run=True)
    job = cluster.submit(body, code=code)
    if args.detach:
        print(json.dumps(job.body) if args.output == "json" else job.name)
        say(one_line(f"`ftjob logs {job.name}` follows it, `ftjob stop {job.name}` stops it"))
        return SUCCEEDED
    say(one_line(f"{job.name} was created; Ctrl-C ends only this command, `ftjob stop {job.name}` the job"))
    return show(job)


def _body(args: argparse.Namespace, code: Archive | None) -> dict[str, Any]:
    """Return the job as it will be created, but for the rights to do so."""
    wanted = from_image.options(args)
    complaints: list[str] = []
    if wanted is None:
        script = args.words[0]
        found = _found(script, args.namespace)
        body = found.body
        is_named_here = args.name is not None or not mapping(body, "metadata").get("name")
        if not is_named_here or any(problem.field != "metadata.name" for problem in found.problems):
            complaints = found.complaints()
    else:
        script, body = from_image.script_of(wanted.command), from_image.build(wanted)
    meta = mapping(body, "metadata")
    if args.namespace and not meta.get("namespace"):
        meta["namespace"] = args.namespace
    meta["name"] = args.name or meta.get("name") or name_for(script)
    body["metadata"] = meta
    apply(body, args.set or [])
    if complaints and not args.set:  # with the lines where they stand
        raise JobInvalid("\n".join(complaints))
    if code is not None:
        body["spec"] = mapping(body, "spec") | {"code": code.reference(str(meta["name"]))}
    must_be_valid(body)
    return body


def _found(file: str, namespace: str | None) -> Found:
    """Return the one job of a file."""
    try:
        source = read(file, namespace)
    except SourceError as error:
        raise JobInvalid(str(error)) from None
    if len(source.jobs) != 1:
        raise JobInvalid(f"{file}: {len(source.jobs)} of kind {KIND}; submit one job at a time")
    return source.jobs[0]


def name_for(script: str) -> str:
    """Return ``<user>-<script>-<4>`` as a name that a job may have."""
    stem = re.sub(r"\.[^./]*$", "", script).rpartition("/")[2]
    text = re.sub(r"[^a-z0-9]+", "-", f"{user()}-{stem}".lower()).strip("-")
    if not text or not text[0].isalpha():
        text = f"job-{text}".strip("-")
    return f"{text[: JOB_NAME_MAX - 5].rstrip('-')}-{secrets.token_hex(2)}"
