"""``ftjob version``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ftjob import __version__
from ftjob.cli.exit_codes import SUCCEEDED

if TYPE_CHECKING:
    import argparse


def main(_args: argparse.Namespace) -> int:
    """Print the version."""
    sys.stdout.write(f"ftjob {__version__}\n")
    return SUCCEEDED
