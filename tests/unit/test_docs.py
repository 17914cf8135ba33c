"""The tables in docs/ that are made from the sources are up to date."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]


def docs(root: Path, *options: str) -> tuple[int, str]:
    """Run the script of a checkout; return its exit code and what it prints."""
    command = [sys.executable, str(root / "tools" / "docs.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_tables_are_what_the_sources_say() -> None:
    assert docs(REPO, "--check") == (0, "")


def test_an_old_table_is_named_and_made_anew(tmp_path: Path) -> None:
    shutil.copytree(REPO / "docs", tmp_path / "docs")
    (tmp_path / "tools").mkdir()
    shutil.copy(REPO / "tools" / "docs.py", tmp_path / "tools")
    page = tmp_path / "docs" / "strategies.md"
    good = page.read_text()
    page.write_text(good.replace("| `Plain` |", "| `Plane` |"))
    assert docs(tmp_path, "--check") == (1, "docs/strategies.md is out of date: run `make generate`\n")
    assert docs(tmp_path) == (0, "")
    assert page.read_text() == good
