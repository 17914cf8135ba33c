"""Programs that get a signal, and what they do with it, behind whatever stands in front of them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from support.differential import Program, Send, same

if TYPE_CHECKING:
    from pathlib import Path

SAVES_AT_SIGTERM = """
import signal, sys, time

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print("step 1", flush=True)
while not asked:
    time.sleep(0.1)
print("saving", flush=True)
time.sleep(0.5)
with open("checkpoint", "w") as file:
    file.write("whole")
print("saved", flush=True)
sys.exit(3)
"""
SAVES_SLOWLY = """
import signal, sys, time

def save(number, frame):
    for shard in range(12):
        time.sleep(1)
        with open("checkpoint", "a") as file:
            file.write(f"shard {shard}\\n")
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
print("step 1", flush=True)
while True:
    time.sleep(0.1)  # not pause(), which misses a signal that came just before it
"""
ASKS_A_CHILD = """
import multiprocessing, signal, sys, time

def hold(connection):
    state = "whole"
    while connection.recv() == "state":
        connection.send(state)

def save(number, frame):
    here.send("state")
    with open("checkpoint", "w") as file:
        file.write(here.recv())
    here.send("end")
    child.join()
    print("child ended with", child.exitcode)
    sys.exit(0)

here, there = multiprocessing.Pipe()
child = multiprocessing.Process(target=hold, args=(there,))
child.start()
signal.signal(signal.SIGTERM, save)
print("step 1", flush=True)
while True:
    time.sleep(0.1)  # not pause(), which misses a signal that came just before it
"""
WRITES_THROUGH_A_FILTER = """
import signal, subprocess, sys, time
filter = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=open("checkpoint", "wb"))

def save(number, frame):
    filter.communicate(b"whole")
    print("filter ended with", filter.returncode)
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
print("step 1", flush=True)
while True:
    time.sleep(0.1)  # not pause(), which misses a signal that came just before it
"""
LOADS_DATA = """
import signal, torch

class Lines(torch.utils.data.Dataset):
    def __len__(self):
        return 1_000_000

    def __getitem__(self, index):
        return torch.tensor([float(index)])

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
for step, batch in enumerate(torch.utils.data.DataLoader(Lines(), batch_size=4, num_workers=2)):
    if step == 0:
        print("step 1", flush=True)
    if asked:
        with open("checkpoint", "w") as file:
            file.write("whole")
        break
"""
PASSES_IT_ON = """
trap 'kill -TERM $child; wait $child; echo "ended with $?"; exit 0' TERM
python train.py &
child=$!
wait $child
"""
COUNTS = """
import time
print("step 1", flush=True)
time.sleep(1)
with open("checkpoint", "w") as file:
    file.write("whole")
"""


@pytest.mark.parametrize(
    "script",
    [SAVES_AT_SIGTERM, ASKS_A_CHILD, WRITES_THROUGH_A_FILTER, LOADS_DATA],
    ids=["alone", "child", "filter", "loader"],
)
def test_a_program_saves_at_sigterm(tmp_path: Path, script: str) -> None:
    program = Program(
        command=("python", "train.py"), files={"train.py": script}, send=Send(signal.SIGTERM, at="step 1")
    )
    assert same(program, tmp_path).files["checkpoint"] == b"whole"


@pytest.mark.parametrize("template", [{}, {"terminationGracePeriodSeconds": 20}], ids=["default", "named"])
def test_a_checkpoint_may_take_as_long_as_the_pod_has(tmp_path: Path, template: dict[str, int]) -> None:
    program = Program(
        command=("python", "train.py"),
        files={"train.py": SAVES_SLOWLY},
        template=template,
        send=Send(signal.SIGTERM, at="step 1"),
    )
    assert same(program, tmp_path).files["checkpoint"].count(b"\n") == 12


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "echo preparing; python train.py; code=$?; exit $code"),
        ("bash", "-c", "python train.py 2>&1 | tee log"),
        ("env", "SEED=1", "nice", "python", "train.py"),
        ("timeout", "60", "python", "train.py"),
        ("bash", "-c", PASSES_IT_ON),
    ],
    ids=["shell", "tee", "env", "timeout", "trap"],
)
def test_nothing_in_front_costs_the_checkpoint(tmp_path: Path, command: tuple[str, ...]) -> None:
    program = Program(
        command=command,
        bare=("python", "train.py"),
        files={"train.py": SAVES_AT_SIGTERM},
        send=Send(signal.SIGTERM, at="step 1"),
        own="^(step|sav)",
        left_out="^log$",
    )
    assert same(program, tmp_path).files["checkpoint"] == b"whole"


@pytest.mark.parametrize(
    "command", [("python", "train.py"), ("sh", "-c", "python train.py && echo done")], ids=["alone", "shell"]
)
def test_nohup_holds(tmp_path: Path, command: tuple[str, ...]) -> None:
    program = Program(
        command=command, files={"train.py": COUNTS}, send=Send(signal.SIGHUP, at="step 1"), nohup=True
    )
    outcome = same(program, tmp_path)
    assert (outcome.code, outcome.files["checkpoint"]) == (0, b"whole")
