"""``ftjob crd``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ftjob.api.crd import render_crd
from ftjob.cli.exit_codes import SUCCEEDED

if TYPE_CHECKING:
    import argparse


def main(_args: argparse.Namespace) -> int:
    """Print the CustomResourceDefinition."""
    sys.stdout.write(render_crd())
    return SUCCEEDED
