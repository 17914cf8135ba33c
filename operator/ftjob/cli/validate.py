"""``ftjob validate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ftjob.cli.exit_codes import INVALID, SUCCEEDED
from ftjob.cli.source import SourceError, read
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
            print(error, file=sys.stderr)
            good = False
            continue
        for note in source.notes:
            print(note, file=sys.stderr)
        for found in source.jobs:
            if found.problems:
                good = False
                print("\n".join(found.complaints()), file=sys.stderr)
            else:
                print(f"{found.file}:{found.line}: {found.title} is valid")
        if not source.jobs:
            good = False
            print(f"{file}: no {KIND} in it; write one, or leave the file out", file=sys.stderr)
    return SUCCEEDED if good else INVALID
