"""At which lines of a program its thread is seen, by real stacks of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ftjob_agent.hooks.ftjob_hooks import notes, process
from ftjob_agent.hooks.ftjob_hooks.clock import lines, sampler, ticker
from ftjob_agent.hooks.ftjob_hooks.clock.sampler import Sampler
from ftjob_protocol.vitals import where
from ftjob_protocol.vitals.where import Doing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import CodeType

TORCH = "/env/lib/python3.11/site-packages/torch"
STANDARD = threading.__file__


def code(file: str, name: str = "f", body: str = "pass") -> CodeType:
    """A function as if it stood in this file."""
    scope: dict[str, Any] = {}
    exec(compile(f"def {name}():\n {body}", file, "exec"), scope)
    found: CodeType = scope[name].__code__
    return found


def seen(*stack: CodeType, main: str = "") -> tuple[str, str]:
    """What is done, and in which function, by a stack whose innermost function is the first."""
    places = {id(entry): lines.place(entry, main, ["/srv/libs"]) for entry in stack}
    found = lines.see([(entry, 2) for entry in stack], places)
    assert found is not None
    return str(found.doing), found.place.code.co_name


LOOP = code("/home/me/train.py", "loop")
STEP = code("/home/me/train.py", "train_step")
HOOK = code(lines.__file__.replace("lines.py", "inputs.py"), "following")
LOADER = code(f"{TORCH}/utils/data/dataloader.py", "__next__")


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([LOOP], ("other", "loop")),
        ([code(STANDARD, "sleep"), STEP, LOOP], ("other", "train_step")),
        # A data set's own code, within torch's loader, and without it.
        (
            [code("/home/me/data.py", "decode"), code("/home/me/data.py", "__getitem__"), HOOK, LOADER, LOOP],
            ("input", "decode"),
        ),
        ([code("/home/me/data.py", "batches", "yield"), LOOP], ("input", "batches")),
        ([code("/home/me/data.py", "__next__"), LOOP], ("input", "__next__")),
        ([code(STANDARD, "wait"), LOADER, LOOP], ("input", "loop")),
        # The loop itself is a generator.
        ([code("/home/me/train.py", "loop", "yield")], ("other", "loop")),
        ([code(f"{TORCH}/nn/modules/linear.py"), STEP, LOOP], ("step", "train_step")),
        ([code(f"{TORCH}/autograd/graph.py"), code(f"{TORCH}/_tensor.py"), LOOP], ("step", "loop")),
        ([code(f"{TORCH}/distributed/distributed_c10d.py"), LOOP], ("collective", "loop")),
        ([HOOK, code(f"{TORCH}/distributed/distributed_c10d.py"), LOOP], ("input", "loop")),
        ([code("/e/site-packages/horovod/torch/mpi_ops.py", "synchronize"), LOOP], ("collective", "loop")),
        # What is called by us is not Python's.
        ([code(lines.__file__.replace("lines.py", "collectives.py"), "wait"), LOOP], ("collective", "loop")),
        # FSDP's frames are around those of the model.
        (
            [
                code(f"{TORCH}/nn/modules/linear.py"),
                code(f"{TORCH}/distributed/fsdp/_fully_shard/x.py"),
                LOOP,
            ],
            ("step", "loop"),
        ),
        ([code(f"{TORCH}/serialization.py"), code("/home/me/train.py", "save"), LOOP], ("save", "save")),
        ([code(f"{TORCH}/distributed/checkpoint/state_dict.py"), LOOP], ("save", "loop")),
        ([code(f"{TORCH}/fx/node.py"), code(f"{TORCH}/_dynamo/convert_frame.py"), LOOP], ("compile", "loop")),
        (
            [code("/tmp/torchinductor_me/ab/cab.py"), code(f"{TORCH}/_dynamo/eval_frame.py"), LOOP],
            ("step", "loop"),
        ),
        ([code(f"{TORCH}/cuda/__init__.py", "synchronize"), LOOP], ("sync", "loop")),
        ([code("/e/dist-packages/tensorflow/python/framework/ops.py", "numpy"), LOOP], ("sync", "loop")),
        # Libraries in a folder of the path, and a program in a folder of a library's name.
        ([code("/srv/libs/torch/nn/modules/linear.py"), LOOP], ("step", "loop")),
        ([code("/home/me/torch/train.py", "mine"), LOOP], ("other", "mine")),
    ],
)
def test_a_stack_is_what_its_innermost_known_function_does(
    stack: list[CodeType], expected: tuple[str, str]
) -> None:
    assert seen(*stack) == expected


def test_the_package_that_is_run_is_the_program_wherever_it_lies() -> None:
    inner, outer = code("/e/site-packages/ours/train.py", "fit"), code("/e/site-packages/theirs/go.py", "go")
    assert seen(inner, outer)[1] == "fit"
    assert seen(outer, inner)[1] == "go"
    assert seen(outer, inner, main="ours")[1] == "fit"
    assert seen(code(f"{TORCH}/run.py", "run"), LOOP, main="torch")[1] == "loop"


def test_nothing_but_our_own_functions_is_nothing() -> None:
    assert lines.see([(HOOK, 1)], {id(HOOK): lines.place(HOOK)}) is None
    assert lines.see([], {}) is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("total += loss.item()", True),
        ("x = y.cpu()", True),
        ("torch.cuda.synchronize()", True),
        ("for item in items():", False),
        ("", False),
    ],
)
def test_a_line_that_waits_for_the_device_is_known_by_its_source(source: str, expected: bool) -> None:
    assert lines.waits(source) == expected


PROGRAM = """
import os, sys, threading, time

from ftjob_agent.hooks.ftjob_hooks.clock import recorder, sampler
from ftjob_protocol.vitals.where import Where

class Batches:
    def __init__(self):
        self.spent = 0.0
    def __iter__(self):
        return self
    def __next__(self):
        began = time.perf_counter()
        while time.perf_counter() - began < 0.003:
            pass
        self.spent += time.perf_counter() - began

def work():
    began = time.perf_counter()
    while time.perf_counter() - began < 0.006:
        pass

def main():
    found = sampler.Sampler()
    over = threading.Event()
    def look():
        while not over.wait(0.004):
            found.tick()
    looker = threading.Thread(target=look)
    batches = Batches()
    looker.start()
    began = time.perf_counter()
    for _ in batches:
        work()
        if time.perf_counter() - began > 3:
            break
    took = time.perf_counter() - began
    over.set()
    looker.join()
    seen = found.where()
    share = {}
    for text, doing, part in seen.lines:
        name = text.split()[-1]
        share[name] = share.get(name, 0) + part
        assert doing == ("input" if name == "__next__" else "other"), (text, doing)
        assert text.startswith("program.py:"), text
    print(seen.samples, share, batches.spent / took)
    assert seen.samples > 100
    assert abs(share["__next__"] - batches.spent / took) < 0.15
    assert share["work"] > 0.4

main()
"""


def test_shares_of_lines_are_those_of_their_time(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FTJOB_RANK_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, program], env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_window_and_the_one_before_it_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTJOB_RANK_DIR", str(tmp_path))
    monkeypatch.setattr(process, "_trains", True)
    monkeypatch.setattr(sampler, "WINDOW", 0.0)
    found = Sampler()
    for expected in (1, 2, 2, 2):
        found.tick()
        said = where.read(str(tmp_path / "where.json"))
        assert said is not None
        assert said.samples == expected
        assert sum(line.share for line in said.lines) == pytest.approx(1)
        assert said.lines[0].doing in set(Doing)


def test_a_helper_of_the_process_that_trains_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTJOB_RANK_DIR", str(tmp_path))
    monkeypatch.setenv("FTJOB_HOOKS_PID", str(os.getpid()))
    found = Sampler()
    found.tick()
    (tmp_path / "steps.bin").touch()  # another process has claimed the steps
    found.write()
    assert not (tmp_path / "where.json").exists()
    (tmp_path / "steps.bin").unlink()
    found.write()
    assert (tmp_path / "where.json").exists()


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[int]]:
    monkeypatch.setenv("FTJOB_RANK_DIR", str(tmp_path))
    monkeypatch.setattr(ticker, "_calls", [])
    monkeypatch.setattr(ticker, "PERIOD", 0.002)
    monkeypatch.setattr(notes, "_notes", [])
    seen: list[int] = []
    yield seen
    ticker.stop()


def until(ready: Any) -> None:
    while not ready():
        time.sleep(0.001)


def test_all_that_wait_for_ticks_are_called_whatever_others_raise(ticks: list[int]) -> None:
    def fail() -> None:
        raise ValueError("not today")

    ticker.at_tick(fail)
    ticker.at_tick(lambda: ticks.append(threading.get_ident()))
    before = threading.enumerate()
    ticker.start()
    ticker.start()
    until(lambda: len(ticks) > 5)
    assert len(set(ticks)) == 1
    assert ticks[0] != threading.get_ident()
    assert threading.enumerate() == before  # programs wait for all of these
    assert "not today" in notes._notes[0]
    ticker.stop()
    count = len(ticks)
    time.sleep(0.02)
    assert len(ticks) == count


def test_ticks_go_on_after_a_fork_in_the_parent_alone(ticks: list[int]) -> None:
    ticker.at_tick(lambda: ticks.append(os.getpid()))
    ticker.start()
    until(lambda: ticks)
    child = os.fork()
    if child == 0:
        count = len(ticks)
        time.sleep(0.1)
        os._exit(len(ticks) - count)
    assert os.waitpid(child, 0)[1] == 0
    count = len(ticks)
    until(lambda: len(ticks) > count)


def test_a_forked_child_that_trains_ticks_itself(ticks: list[int]) -> None:
    ticker.at_tick(lambda: ticks.append(os.getpid()))
    ticker.start()
    child = os.fork()
    if child == 0:
        ticker.at_tick(lambda: ticks.append(os.getpid()))
        ticker.start()
        until(lambda: os.getpid() in ticks)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_call_that_stops_the_ticks_does_not_wait_for_itself(ticks: list[int]) -> None:
    def call() -> None:
        ticker.stop()
        ticks.append(1)

    ticker.at_tick(call)
    ticker.start()
    until(lambda: len(ticks) > 1)


def test_the_interpreter_ends_while_there_are_ticks(tmp_path: Path) -> None:
    program = """
from ftjob_agent.hooks.ftjob_hooks.clock import ticker
ticker.PERIOD = 0.0001
ticker.at_tick(lambda: sum(range(1000)))
ticker.start()
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FTJOB_RANK_DIR": str(tmp_path)}
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], env=env, check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


def test_the_document_is_that_of_the_protocol(tmp_path: Path) -> None:
    found = Sampler()
    found.tick()
    said = json.dumps(found.where().as_json()).encode()
    assert where.parse(said) == found.where()
