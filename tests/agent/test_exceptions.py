"""Uncaught exceptions: which of them explain a rank's end, and how long a rank may go on after one."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.agent_runs import is_alive, plan, star_plans, wait_for
from support.hook_env import hooks_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.agent_runs import AgentRun, Agents

PYTHON = f"exec {sys.executable}"
TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]
RAISES = f"{sys.executable} -c 'raise ValueError(int.__name__)'"


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "ftjob-agent.pyz"
    hooks_in(path)
    return path


def shell(agents: Agents, zipapp: Path, script: str, **config: object) -> AgentRun:
    """Start an agent whose rank is a shell, and whose Python programs have hooks."""
    return agents.start(plan(**config), ["bash", "-c", script], agent=[sys.executable, str(zipapp)])


THREAD = """
import sys, threading
def f():
    try: raise ValueError(1)
    except ValueError: sys.excepthook(*sys.exc_info())
t = threading.Thread(target=f); t.start(); t.join(); sys.exit(1)
"""
SHOWS = """
import sys
try: raise ValueError(1)
except ValueError: sys.excepthook(*sys.exc_info())
sys.exit(1)
"""
HELPER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "raise ValueError(1)"])
sys.exit(4)
"""
LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "-c", "raise ValueError(1)"]))
"""
STARTS = 'import subprocess, sys; subprocess.run([sys.executable, "-c", "raise ValueError(1)"], check=True)'
DIES = f"{sys.executable} -c 'import os; os.kill(os.getpid(), 11)'"
TOLERATED = {
    "another code later": (f"{RAISES} || true; sleep 3.5; exit 3", 3),
    "code 1 later": (f"{RAISES} || true; sleep 3.5; exit 1", 1),
    "another program's code": (f"{RAISES} || true; {sys.executable} -c 'raise SystemExit(1)'", 1),
    "the code of one in another shell": (f'bash -c "{RAISES}; {DIES}"; exit $?', 139),
    "another program's death": (f"{RAISES} || {DIES}", 139),
    "a launcher's end": (f"{sys.executable} -c '{STARTS}' || {DIES}", 139),
    "a thread": (f"{PYTHON} -c '{THREAD}'", 1),
    "a program that only shows it": (f"{PYTHON} -c '{SHOWS}'", 1),
    "a helper of a program": (f"{PYTHON} -c '{HELPER}'", 4),
}


@pytest.mark.parametrize(("script", "code"), TOLERATED.values(), ids=TOLERATED)
def test_an_exception_that_was_tolerated_explains_nothing(
    agents: Agents, zipapp: Path, script: str, code: int
) -> None:
    run = shell(agents, zipapp, script)
    assert run.wait() == code
    assert run.failure["class"] in {"Exit", "Signal"}
    assert run.failure["exitCode"] == code


SLOW_EXIT = "import atexit, time; atexit.register(time.sleep, 4); raise ValueError(1)"
EXPLAINED = {
    "a shell that reports the code": f"{RAISES}; code=$?; echo ended with $code; exit $code",
    "a pipe": f"set -o pipefail; {RAISES} | tee log",
    "a pipe to Python": f"set -o pipefail; {RAISES} | {sys.executable} -c 'import sys; sys.stdin.read()'",
    "a pipe to Python that is slow": (
        f"set -o pipefail; {RAISES} | (sleep 1; exec {sys.executable} -c 'import sys; sys.stdin.read()')"
    ),
    "a shell that means another code": f"{RAISES} || exit 3",
    "after one that was tolerated": f"{sys.executable} -c 'raise KeyError(1)' || true; {RAISES}",
    "a launcher": f"{PYTHON} -c '{LAUNCHER}'",
    "an exit that takes its time": f"{sys.executable} -c '{SLOW_EXIT}'; exit $?",
}


@pytest.mark.parametrize("script", EXPLAINED.values(), ids=EXPLAINED)
def test_the_exception_of_the_tree_that_ended_explains_the_end(
    agents: Agents, zipapp: Path, script: str
) -> None:
    run = shell(agents, zipapp, script)
    assert run.wait() in {1, 3}
    assert (run.failure["class"], run.failure["type"]) == ("Exception", "ValueError")


SECOND_TRY = """
import os
open("tries", "a").write("x")
if os.path.getsize("tries") < 2: raise ValueError("int")
"""
SURVIVED = {
    "tolerated for longer than a hang": f"{RAISES} || echo no cache; sleep 6.5; echo trained",
    "a pipe": f"{RAISES} | cat",
    "tried again": f"until {sys.executable} -c '{SECOND_TRY}'; do sleep 0.1; done",
}


@pytest.mark.parametrize("script", SURVIVED.values(), ids=SURVIVED)
def test_code_0_is_a_success_with_a_warning_that_names_the_exception(
    agents: Agents, zipapp: Path, script: str
) -> None:
    run = shell(agents, zipapp, script)
    assert run.wait() == 0
    assert run.message["state"] == "Succeeded"
    assert "ended with code 0 after an uncaught exception: ValueError: int" in run.message["warning"]
    assert run.message["warning"] in run.message["notes"]


UPLOADS = """
import atexit
def upload():
    for part in range(8):
        time.sleep(0.9)
        with open('parts', 'a') as file: file.write('part\\n')
"""


def test_a_rank_may_go_on_after_its_exception_while_it_works_and_its_peers_do_not_wait(
    agents: Agents,
) -> None:
    source = f"""{UPLOADS}
if rank == 0:
    while not os.path.exists('up-1'): time.sleep(0.02)
    record(ValueError('mine'))
    upload()
    mark('peer', os.path.exists('ended-1'))
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: (mark('ended'), os._exit(0)))
mark('up')
signal.pause()
"""
    run = agents.script(plan(ranks=TWO, worldSize=2), source)
    assert run.wait() == 1
    assert (run.failure["rank"], run.failure["type"]) == (0, "ValueError")
    assert len(run.text("parts").splitlines()) == 8
    assert run.text("peer-0") == "True"


def test_peers_in_other_pods_end_before_a_rank_that_goes_on(agents: Agents) -> None:
    source = "record(ValueError('mine'))\nwhile not os.path.exists('go'): time.sleep(0.02)\nsys.exit(1)"
    leader, other = star_plans(2, 1)
    peer = agents.script(leader, "mark('up'); signal.pause()")
    run = agents.script(other, source)
    assert peer.wait() == 143
    assert "ValueError" in peer.failure["message"]
    assert run.process.poll() is None
    (run.folder / "go").touch()
    assert run.wait() == 1
    assert run.failure["class"] == "Exception"


@pytest.mark.parametrize("work", ["sum(range(10000))", "os.write(1, b'.')", "open('/proc/stat').read()"])
def test_a_rank_that_goes_on_is_ended_at_the_limit(agents: Agents, work: str) -> None:
    source = f"record(ValueError('mine')); mark('pid', os.getpid())\nwhile True: {work}; time.sleep(0.01)"
    run = agents.script(plan(exceptionGraceSeconds=3), source)
    assert run.wait() == 1
    assert run.failure["class"] == "Exception"
    assert not is_alive(int(run.text("pid-0")))


def test_a_program_that_hangs_at_its_end_behind_a_shell_is_ended_and_the_shell_goes_on(
    agents: Agents, zipapp: Path
) -> None:
    hangs = "import atexit, signal; atexit.register(signal.pause); raise ValueError(1)"
    run = shell(agents, zipapp, f"{sys.executable} -c '{hangs}'; echo $? >code; sleep 0.1; exit 6")
    assert run.wait() == 6
    assert run.text("code") == "143\n"
    assert run.failure["type"] == "ValueError"


def test_a_pod_that_is_told_to_end_between_two_tries_is_stopped(agents: Agents, zipapp: Path) -> None:
    run = shell(agents, zipapp, f"until {RAISES}; do touch tried; sleep 600; done")
    wait_for((run.folder / "tried").exists, "the first try")
    wait_for(_later(1), "some time after it")
    run.terminate()
    assert run.wait() == 143
    assert run.failure["class"] == "Stopped"


def _later(seconds: float) -> Callable[[], bool]:
    """Return a condition that is true so many seconds from now."""
    limit = time.monotonic() + seconds
    return lambda: time.monotonic() > limit
