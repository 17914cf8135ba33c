"""``ftjob wait``: silent, to the job's end or until it runs, with the job's exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import chosen, exit_code

if TYPE_CHECKING:
    import argparse


def main(args: argparse.Namespace) -> int:
    """Wait; 0 as soon as it is so, 1 if the job fails, 124 when the time is over."""

    def verb() -> int:
        chosen(args).wait(args.until, args.timeout)
        return SUCCEEDED

    return exit_code(verb)
