"""A mark in the rank's folder: an optimizer is there, so that steps are to be expected.

An import says nothing: programs on JAX, and those that update their parameters by hand, import torch or
TensorFlow for their data.
"""

from __future__ import annotations

import os

from .. import notes
from ..protocol import files, variables


@notes.guarded
def expect_steps() -> None:
    """Leave the mark; any process of the rank may."""
    path = os.path.join(os.environ[variables.RANK_DIR], files.OPTIMIZER)
    if not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
