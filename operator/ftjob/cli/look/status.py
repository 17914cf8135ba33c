"""``ftjob status``: how a job is, and if it is not well why, by what that is known, and what to do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import yaml

from ftjob.api.job import parse_job
from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import chosen, exit_code, kubectl_options
from ftjob.cli.look.answer import as_json, lines, rows
from ftjob.cli.look.causes import likeliest
from ftjob.cli.look.read import look_at
from ftjob.cli.terminal import say
from ftjob.models.status import Phase

if TYPE_CHECKING:
    import argparse

    from ftjob.cli.look.causes import Cause
    from ftjob.cli.look.seen import Seen


def main(args: argparse.Namespace) -> int:
    """Print the answer; 0 whatever it is."""

    def verb() -> int:
        job = chosen(args)
        seen = look_at(job)
        cause = likeliest(seen)
        table = rows(seen, parse_job(job.body))
        command = next_command(seen, cause, kubectl_options(args))
        if args.output == "json":
            print(json.dumps(as_json(seen, cause, table, command), indent=2))
        elif args.output == "yaml":
            answer = as_json(seen, cause, table, command)
            print(yaml.safe_dump(answer, sort_keys=False, allow_unicode=True), end="")
        else:
            say(*lines(seen, cause, table, command), stream=sys.stdout)
        return SUCCEEDED

    return exit_code(verb)


def next_command(seen: Seen, cause: Cause | None, options: list[str]) -> str:
    """Return the one command that comes next; empty if there is none."""
    command = cause.next if cause is not None else ""
    if cause is None and seen.status.phase is not Phase.SUCCEEDED:
        command = f"ftjob wait {seen.name} -n {seen.namespace}"
    return " ".join((command, *options)) if command else ""
