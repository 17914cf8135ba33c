"""``ftjob validate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import INVALID, SUCCEEDED
from ftjob.cli.source import SourceError, read
from ftjob.cli.terminal import one_line, say
from ftjob.models.names import KIND

if TYPE_CHECKING:
    import argparse


def main(args: argparse.Namespace) -> int:
    """Print what is wrong with each job; 2 if anything is."""
    good = True
    for file in args.files:
        try:
            source = read(file)
        except SourceError as error:
            say(str(error))
            good = False
            continue
        for note in source.notes:
            say(note)
        for found in source.jobs:
            if found.problems:
                good = False
                say(*found.complaints())
            else:
                say(one_line(f"{found.file}:{found.line}: {found.title} is valid"), stream=sys.stdout)
        if not source.jobs:
            good = False
            say(one_line(f"{file}: no {KIND} in it; write one, or leave the file out"))
    return SUCCEEDED if good else INVALID
