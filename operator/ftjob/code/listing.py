"""Which files of a folder are its code: those that git knows or would, less what .ftjobignore names.

Git itself says so, also of a folder that is in no repository: then it works with an empty one of our own.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ftjob.code.errors import CodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Git = Callable[..., list[str]]

IGNORE = ".ftjobignore"
LEFT_OUT = (
    "ftjob-outputs/",
    "ftjob-reports/",
    "__pycache__/",
    ".venv/",
    "venv/",
    "node_modules/",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
)
"""What nobody means, unless git was told to keep it."""


def files_of(folder: Path) -> set[str]:
    """Return the paths of a folder's code, from that folder on.

    Raises
    ------
    CodeError
        There is no git, or it refuses.
    """
    found: set[str] = set()
    with _git(folder) as git:
        left_out = [f"--exclude={name}" for name in LEFT_OUT]
        known = git("ls-files", "-z", "-c", "-o", "--exclude-standard", *left_out)
        ignored = git("ls-files", "-z", "-c", "-o", "-i", f"--exclude-per-directory={IGNORE}")
    for path in set(known) - set(ignored):
        inner = folder / path
        if inner.is_symlink() or not inner.is_dir():
            found.add(path)
        elif (inner / ".git").exists():  # a repository within: git only names it
            found |= {f"{path.rstrip('/')}/{name}" for name in files_of(inner)}
    return found


@contextmanager
def _git(folder: Path) -> Iterator[Git]:
    """Give what calls git for a folder, and returns the paths that it prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ["LC_ALL"] = "C"

    def git(*words: str) -> list[str]:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], env=environ, capture_output=True, check=False
            )
        except FileNotFoundError:
            raise CodeError(
                "git is not installed, and it says which files belong to the code; install git"
            ) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise CodeError(f"git says: {said}; see that `git -C {folder} status` works")
        return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]

    try:
        git("rev-parse", "--show-toplevel")
    except CodeError as error:
        if "not a git repository" not in str(error):
            raise
    else:
        yield git
        return
    with TemporaryDirectory(prefix="ftjob-") as empty:
        git("init", "--quiet", "--bare", empty)
        environ |= {"GIT_DIR": empty, "GIT_WORK_TREE": str(folder)}
        yield git
