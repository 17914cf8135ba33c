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
THREAD_FAILS = """
import sys, threading, time

def load():
    try:
        raise OSError("this sample can't be read")
    except OSError:
        sys.excepthook(*sys.exc_info())

threading.Thread(target=load).start()
threading.Thread(target=lambda: 1 / 0).start()
time.sleep(6)
print("trained")
"""
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
HANDS_IN = """
import atexit, time

def hand_in():
    for part in range(8):
        time.sleep(1)
        with open("parts", "a") as file:
            file.write(f"part {part}\\n")
    print("handed in")

atexit.register(hand_in)
print("step 1", flush=True)
raise ValueError("the loss is not a number")
"""
HANDS_IN_BY_A_THREAD = """
import threading, time

def hand_in():
    threading.main_thread().join()
    for part in range(8):
        sum(range(2_000_000))
        time.sleep(0.8)
        with open("parts", "a") as file:
            file.write(f"part {part}\\n")

threading.Thread(target=hand_in).start()
raise ValueError("the loss is not a number")
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
        ("python warm.py || echo 'going on without'; sleep 6; python train.py", 0),
        ("until [ -e model ]; do python warm.py; sleep 6; python train.py; done", 0),
        ("python warm.py | tee log", 0),
        ("! python warm.py; python train.py; exit 5", 5),
        ("python -c 'import os; os.kill(os.getpid(), 9)'; exit $?", 137),
    ],
    ids=["two", "tolerated", "until", "tee", "negated", "killed"],
)
def test_a_shell_decides_how_its_programs_end(tmp_path: Path, line: str, code: int) -> None:
    files = {"train.py": WRITES, "warm.py": FAILS}
    own = r"^(?!bash: )"  # bash tells the process id of what was killed
    outcome = same(Program(command=("bash", "-c", line), files=files, own=own), tmp_path)
    assert outcome.code == code


@pytest.mark.parametrize("script", [THREAD_FAILS, CHILDREN_FAIL], ids=["thread", "children"])
def test_others_than_the_main_thread_fail(tmp_path: Path, script: str) -> None:
    program = Program(
        command=("python", "train.py"), files={"train.py": script, "warm.py": FAILS}, own="^(trained|helpers)"
    )
    assert same(program, tmp_path).code == 0


@pytest.mark.parametrize("script", [HANDS_IN, HANDS_IN_BY_A_THREAD], ids=["atexit", "thread"])
def test_a_program_works_on_after_its_exception(tmp_path: Path, script: str) -> None:
    outcome = same(Program(command=("python", "train.py"), files={"train.py": script}), tmp_path)
    assert outcome.code == 1
    assert outcome.files["parts"].count(b"\n") == 8
