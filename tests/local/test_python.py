"""The trainer's Python and what lies on its path: ranks see it, the agent runs apart from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

FINDS_ITS_OWN = """
import os
import queue_of_mine
try:
    import hmac
except ZeroDivisionError:
    print("FOUND", queue_of_mine.__name__, os.environ.get("HOROVOD_RANK"))
"""


@pytest.mark.parametrize("strategy", ["Plain", "Horovod"])
def test_modules_of_the_program_hide_pythons_own_from_ranks_alone(tmp_path: Path, strategy: str) -> None:
    library, here = tmp_path / "library", tmp_path / "here"
    library.mkdir()
    here.mkdir()
    # The agent, the hooks or Horovod's rendezvous need each of these; the program does not.
    for name in ("hmac", "selectors", "http", "socketserver", "pickle", "secrets", "ftjob_protocol"):
        (library / f"{name}.py").write_text("1 / 0")
        (here / f"{name}.py").write_text("1 / 0")
    (library / "queue_of_mine.py").write_text("")
    (tmp_path / "train.py").write_text(FINDS_ITS_OWN)
    job = plain_job("", workers=2, command=["python", str(tmp_path / "train.py")], args=[])
    trainer = job["spec"]["template"]["spec"]["containers"][0]
    trainer |= {"workingDir": str(here), "env": [{"name": "PYTHONPATH", "value": str(library)}]}
    job["spec"]["strategy"] = strategy
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(2):
        number = rank if strategy == "Horovod" else None
        assert f"FOUND queue_of_mine {number}\n" in ran.log(rank)


@pytest.mark.parametrize("version", ["3.8.18", "2.7.18"])
def test_an_old_python_is_refused_by_both_versions_before_anything_starts(
    tmp_path: Path, version: str
) -> None:
    old = tmp_path / "python-of-old"
    old.write_text(f"#!/bin/sh\necho {version}\n")
    old.chmod(0o755)
    ran = run(plain_job("print('runs')"), tmp_path, "--python", str(old))
    assert ran.code == 2
    assert f"{old} is Python {version}, and ftjob needs 3.9 or newer" in ran.stderr
    assert not ran.outputs.exists()


def test_what_is_no_python_is_named(tmp_path: Path) -> None:
    ran = run(plain_job("print('runs')"), tmp_path, "--python", "/bin/echo")
    assert ran.code == 2
    assert "/bin/echo is no Python" in ran.stderr
