"""The table of libraries names the versions that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKED = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
NOT_LOCKED = {"horovod"}  # built by `make setup`
TABLE = re.findall(r"^\| [^|]+ \| ([^|]+) \|", (ROOT / "docs" / "programs.md").read_text(), re.MULTILINE)
VERSIONS = [entry.split() for cell in TABLE for entry in cell.split(", ") if re.search(r" \d", entry)]


@pytest.mark.parametrize(("library", "version"), VERSIONS)
def test_a_library_has_the_version_that_is_locked(library: str, version: str) -> None:
    assert library in NOT_LOCKED or LOCKED[library] == version
