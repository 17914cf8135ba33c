"""How programs end: exit codes, exceptions that matter and that don't, a shell in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.differential import Program, same

if TYPE_CHECKING:
    from pathlib import Path

WRITES = """
import sys
print("training", flush=True)
with open("model", "w") as file:
    file.write("weights")
"""
FAILS = "raise ConnectionError('the cache does not answer')"
CHILDREN_FAIL = """
import multiprocessing, subprocess, sys, time

def child():
    raise ValueError("a helper fails")

if __name__ == "__main__":
    helper = multiprocessing.get_context("spawn").Process(target=child)
    helper.start()
    helper.join()
    ended = subprocess.run([sys.executable, "warm.py"], stderr=subprocess.DEVNULL)
    print("helpers ended with", helper.exitcode, ended.returncode)
    time.sleep(6)
    print("trained")
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


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("python train.py && cp model copy; false || python -c 'print(\"evaluated\")'", 0),
        ("python warm.py | tee log", 0),
        ("! python warm.py; python train.py; exit 5", 5),
        ("python -c 'import os; os.kill(os.getpid(), 9)'; exit $?", 137),
    ],
    ids=["two", "tee", "negated", "killed"],
)
def test_a_shell_decides_how_its_programs_end(tmp_path: Path, line: str, code: int) -> None:
    files = {"train.py": WRITES, "warm.py": FAILS}
    own = r"^(?!bash: )"  # bash tells the process id of what was killed
    outcome = same(Program(command=("bash", "-c", line), files=files, own=own), tmp_path)
    assert outcome.code == code


@pytest.mark.parametrize("script", [CHILDREN_FAIL], ids=["children"])
def test_others_than_the_main_thread_fail(tmp_path: Path, script: str) -> None:
    program = Program(
        command=("python", "train.py"), files={"train.py": script, "warm.py": FAILS}, own="^(trained|helpers)"
    )
    assert same(program, tmp_path).code == 0
