"""Builds the agent's zipapp as the release does."""

from __future__ import annotations

import zipfile
from pathlib import Path

import ftjob_agent

SOURCE = Path(ftjob_agent.__file__).parent
MAIN = "from ftjob_agent.main import main\nmain()\n"


def build_agent(target: Path) -> Path:
    """Write the zipapp; the same sources give the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("__main__.py"), MAIN)
        for path in sorted(SOURCE.rglob("*.py")):
            archive.writestr(_entry(f"ftjob_agent/{path.relative_to(SOURCE).as_posix()}"), path.read_bytes())
    return target


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
