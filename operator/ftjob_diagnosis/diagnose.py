"""From what the ranks measured to what is wrong."""

from __future__ import annotations

from typing import Optional

from ftjob_diagnosis.findings import Diagnosis
from ftjob_diagnosis.window import Window


def diagnose(window: Window, before: Optional[Diagnosis] = None) -> Diagnosis:
    """Say why the job is slow.

    Parameters
    ----------
    window
        The blocks so far; call it after each new one.
    before
        The diagnosis of the blocks before the last: a verdict stays until it is clearly over.
    """
    return before or Diagnosis((), "unknown: too few steps so far", window.seen)
