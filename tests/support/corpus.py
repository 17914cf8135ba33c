"""Inputs that broke something once, or nearly: in ``tests/corpus``, tried before random ones in each run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import example, note

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parents[1] / "corpus"
SEQUENCES = int(os.environ.get("FTJOB_SEQUENCES", "400"))


def examples(share: float) -> int:
    """Return how many random inputs are tried: a share of FTJOB_SEQUENCES, at least 50."""
    return max(50, int(SEQUENCES * share))


def saved(folder: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try a test with all that was saved for it, each file a list of its arguments."""
    files = sorted((CORPUS / folder).glob("*.json"))
    assert files, f"nothing is saved in {CORPUS / folder}"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        for file in files:
            test = example(*json.loads(file.read_text()))(test)
        return test

    return decorate


def to_save(folder: str, *arguments: Any) -> None:
    """Have a failure say what to save; the test is to be tried with it from then on."""
    note(f"save in tests/corpus/{folder}/WHAT-IT-IS.json: {json.dumps(arguments, default=repr)}")
