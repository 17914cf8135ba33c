"""``ftjob completion``: what a shell has to read once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from argcomplete.shell_integration import shellcode

from ftjob.cli.exit_codes import SUCCEEDED

if TYPE_CHECKING:
    import argparse


def main(args: argparse.Namespace) -> int:
    """Print it."""
    # Without bash's own candidates: files where names of jobs are meant.
    print(shellcode(["ftjob"], shell=args.shell, complete_arguments=["-o", "nospace"]))
    return SUCCEEDED
