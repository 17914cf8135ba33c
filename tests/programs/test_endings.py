"""How programs end: exit codes, exceptions, a shell in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.differential import Program, same

if TYPE_CHECKING:
    from pathlib import Path

WRITES = """
import sys
print("training")
with open("model", "w") as file:
    file.write("weights")
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(7)", 7),
        ("raise ValueError('the loss is not a number')", 1),
        ("import os; os.kill(os.getpid(), 11)", 139),
    ],
    ids=["success", "exit", "exception", "segfault"],
)
def test_a_program_ends(tmp_path: Path, end: str, code: int) -> None:
    files = {"train.py": WRITES + end}
    own = "^training" if code == 139 else ""  # ftjob's hooks have Python say where it was
    outcome = same(Program(command=("python", "train.py"), files=files, own=own), tmp_path)
    assert outcome.code == code


def test_a_shell_runs_two_programs(tmp_path: Path) -> None:
    line = "python train.py && cp model copy; false || python -c 'print(\"evaluated\")'"
    outcome = same(Program(command=("bash", "-c", line), files={"train.py": WRITES}), tmp_path)
    assert "evaluated" in outcome.lines
