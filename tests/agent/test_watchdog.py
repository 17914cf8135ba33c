"""Jobs that really hang: who is named, and that nobody else is taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import OPERATOR, plan, star_plans, wait_for

from ftjob_agent.ranks.environment import STACKS_SIGNAL
from ftjob_agent.watching import stacks
from ftjob_protocol import files, variables

if TYPE_CHECKING:
    from support.agent_runs import AgentRun, Agents

PROGRAMS = Path(__file__).parents[1] / "support" / "programs"
SOON: dict[str, Any] = {"watchdog": {"hangSeconds": 2, "counts": True}}
TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]

# A script as users write it: its ranks step together, by files instead of a network.
STEPS = """
import faulthandler, json, os, queue, signal, subprocess, sys, threading, time
rank, size = int(os.environ["FTJOB_RANK"]), int(os.environ.get("SIZE", 2))

def report(step):
    with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
        file.write(json.dumps({"step": step}) + "\\n")

def barrier():
    while True:
        time.sleep(0.05)

def load():
    {hang}

{before}
for step in range(1, 4):
    report(step)
    time.sleep(0.1)
print("three steps done", flush=True)
load() if rank == {culprit} else barrier()
"""


def run_script(
    agents: Agents, config: dict[str, Any], hang: str, *, culprit: int = 1, before: str = "", **options: Any
) -> AgentRun:
    source = STEPS.replace("{hang}", hang).replace("{before}", before).replace("{culprit}", str(culprit))
    script = Path(options.pop("folder")) / "train.py"
    script.write_text(source)
    return agents.start(config, [sys.executable, str(script)], **options)


HANGS = {
    "a lock": ("lock = threading.Lock(); lock.acquire(); lock.acquire()", ""),
    "a call into C": ("time.sleep(3600)", ""),
    "a queue, with faulthandler in use by the script": (
        "queue.Queue().get()",
        (
            "faulthandler.enable(open('own', 'w')); faulthandler.register(signal.SIGUSR1)\n"
            "faulthandler.dump_traceback_later(3600)"
        ),
    ),
    "a lock, with signals blocked in another thread": (
        "threading.Lock().acquire() and threading.Event().wait()",
        (
            "def deaf():\n    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
            "    time.sleep(3600)\n"
            "threading.Thread(target=deaf, daemon=True).start()"
        ),
    ),
    "a lock, with signals blocked in the main thread": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); threading.Event().wait()",
        "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()",
    ),
    "a child that is no Python and one that would die of the signal": (
        "subprocess.run(['sleep', '3600'])",
        (
            "import multiprocessing\n"
            "def forked():\n"
            "    for number in range(1, 65):\n"
            "        if number not in (9, 19, 32, 33): signal.signal(number, signal.SIG_DFL)\n"
            "    time.sleep(3600)\n"
            "multiprocessing.get_context('fork').Process(target=forked, daemon=True).start()"
        ),
    ),
}


@pytest.mark.parametrize("how", HANGS)
def test_the_rank_that_hangs_is_named(agents: Agents, tmp_path: Path, how: str) -> None:
    hang, before = HANGS[how]
    config = plan(ranks=TWO, worldSize=2, outputs=str(tmp_path / "outputs"), keepLogs=True, **SOON)
    run = run_script(agents, config, hang, before=before, folder=tmp_path)
    assert run.wait() == 143
    failure = run.failure
    assert (failure["class"], failure["rank"], failure["exitCode"]) == ("Hang", 1, None), failure
    last = failure["message"].splitlines()[-1]
    assert last.startswith("no step for ")
    assert f"load ({tmp_path.name}/train.py:" in last.partition("rank 1 is at ")[2].partition(", while ")[0]
    assert f", while rank 0 waits at barrier ({tmp_path.name}/train.py:" in last
    assert failure["logTail"] == "three steps done"
    assert run.message["progress"]["step"] == 3
    found = (tmp_path / "outputs/captures/hang-0/raw/rank-00001/stacks.txt").read_text()
    assert "train.py" in found


def test_the_agent_of_the_hanging_rank_says_so_and_the_others_that_they_were_stopped(
    agents: Agents, tmp_path: Path
) -> None:
    configs = star_plans(2, 2, **SOON)
    runs = [
        run_script(agents, config, "time.sleep(3600)", culprit=3, folder=tmp_path, env={"SIZE": "4"})
        for config in configs
    ]
    assert [run.wait() for run in runs] == [143, 143]
    assert runs[1].message["state"] == "Failed"
    assert (runs[1].failure["class"], runs[1].failure["rank"]) == ("Hang", 3)
    assert "ranks 0-2" in runs[1].failure["message"]
    assert runs[0].message["state"] == "Stopped"
    assert "rank 3" in runs[0].failure["message"]
    assert "load" in runs[1].text("stderr")  # all stacks, where no outputs keep them


def test_a_stopped_process_is_named_by_its_state(agents: Agents, tmp_path: Path) -> None:
    config = plan(ranks=TWO, worldSize=2, **SOON)
    run = run_script(agents, config, "os.kill(os.getpid(), signal.SIGSTOP)", folder=tmp_path)
    assert run.wait() == 143
    assert run.failure["rank"] == 1
    assert "no Python stack" in run.failure["message"]
    assert "state T (stopped)" in run.failure["message"]


def test_the_agents_own_child_may_be_waited_for_by_another_of_its_threads() -> None:
    program = """
import os, subprocess
from ftjob_agent.ranks.supervise import Supervisor

def waitid(*args):
    found = os_waitid(*args)
    if found is not None:
        os.waitpid(found.si_pid, 0)
    return found

os_waitid, os.waitid = os.waitid, waitid
child = subprocess.Popen(["true"])
os_waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
Supervisor().reap()
print(child.wait())
"""
    env = {"PYTHONPATH": str(OPERATOR)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_py_spy_is_asked_where_python_does_not_answer(agents: Agents, tmp_path: Path) -> None:
    """A stand-in for py-spy, which needs the right to trace other processes."""
    tools = tmp_path / "bin"
    tools.mkdir()
    spy = tools / "py-spy"
    spy.write_text(
        f'#!/bin/sh\nenv >{tmp_path}/env\n[ "$1 $3" = "dump --pid" ] || exit 2\nkill -0 "$4" || exit 3\n'
        "echo 'Thread 7 (idle): \"MainThread\"'\necho '    deep (spied.py:99)'\n"
    )
    spy.chmod(0o755)
    hang = "signal.signal(signal.SIGRTMAX - 6, signal.SIG_DFL); threading.Event().wait()"
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    config = plan(ranks=TWO, worldSize=2, **SOON)
    run = run_script(agents, config, hang, folder=tmp_path, env=env)
    assert run.wait() == 143
    assert run.failure["rank"] == 1
    assert "rank 1 is at deep (spied.py:99), while rank 0 waits at barrier" in run.failure["message"]
    assert not {"FTJOB_TOKEN_FILE", "FTJOB_AGENT_CONFIG"} & variables_in(tmp_path / "env")


@pytest.mark.parametrize("path", ["{outputs}/bin:{own}", "{links}:{own}", "{own}"])
def test_py_spy_is_never_run_from_the_outputs(agents: Agents, tmp_path: Path, path: str) -> None:
    outputs, links = tmp_path / "outputs", tmp_path / "links"
    (outputs / "bin").mkdir(parents=True)
    spy = outputs / "bin" / "py-spy"
    spy.write_text(f"#!/bin/sh\ntouch {tmp_path}/spied\n")
    spy.chmod(0o755)
    links.mkdir()
    (links / "py-spy").symlink_to(spy)
    hang = "signal.signal(signal.SIGRTMAX - 6, signal.SIG_DFL); threading.Event().wait()"
    env = {"PATH": path.format(outputs=outputs, links=links, own=os.environ["PATH"])}
    config = plan(ranks=TWO, worldSize=2, outputs=str(outputs), **SOON)
    run = run_script(agents, config, hang, folder=tmp_path, env=env)
    assert run.wait() == 143
    assert run.failure["class"] == "Hang"
    assert not (tmp_path / "spied").exists()


def variables_in(path: Path) -> set[str]:
    return {line.partition("=")[0] for line in path.read_text().splitlines()}


def test_without_any_word_of_progress_a_program_runs_on_and_the_leader_says_so(agents: Agents) -> None:
    source = "while not os.path.exists('enough'): time.sleep(0.02)"
    soon = {"watchdog": {"hangSeconds": 0.5, "counts": True}}
    run = agents.script(plan(**soon), source)
    said = wait_for(lambda: run.progress().get("watchdog"), "the leader's word")
    assert "no steps to watch" in said
    (run.folder / "enough").touch()
    assert run.wait() == 0


def test_steps_and_slow_ones_are_no_hang(agents: Agents, tmp_path: Path) -> None:
    source = """
for step in range(8):
    with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file: file.write(json.dumps({"step": step}) + "\\n")
    time.sleep(1)
"""
    run = agents.script(plan(watchdog={"hangSeconds": 5, "counts": True}), source)
    assert run.wait() == 0


def test_agents_whose_ranks_make_no_steps_have_no_say(agents: Agents, tmp_path: Path) -> None:
    leader, other = star_plans(2, 1, **SOON)
    other |= {"watchdog": {"hangSeconds": 2, "counts": False}}
    folders = [tmp_path / name for name in ("leader", "other")]
    for folder in folders:
        folder.mkdir()
    run = run_script(agents, leader, "time.sleep(3600)", culprit=0, folder=folders[0])
    busy = "step = 0\nwhile True:\n    step += 1; report(step); time.sleep(0.2)"
    server = run_script(agents, other, "pass", before=busy, folder=folders[1])
    assert [run.wait(), server.wait()] == [143, 143]
    assert (run.failure["class"], run.failure["rank"]) == ("Hang", 0)


def test_torch_ranks_wait_in_an_all_reduce_for_one_that_loads_data(agents: Agents) -> None:
    runs = []
    for config in star_plans(2, 2, watchdog={"hangSeconds": 5, "counts": True}):
        for spec in config["ranks"]:
            spec["env"] |= {
                "RANK": spec["env"]["FTJOB_RANK"],
                "WORLD_SIZE": "4",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(config["port"] + 1),
                "GLOO_SOCKET_IFNAME": "lo",
            }
        command = [sys.executable, str(PROGRAMS / "torch_hang.py"), "--hang-rank=2"]
        runs.append(agents.start(config, command))
    assert [run.wait(240) for run in runs] == [143, 143]
    failure = runs[1].failure
    assert (failure["class"], failure["rank"]) == ("Hang", 2), failure
    last = failure["message"].splitlines()[-1]
    assert "rank 2 is at load (programs/torch_hang.py:" in last
    assert "time.sleep(3600), while ranks 0-1, 3 wait at all_reduce (torch/distributed/" in last
    assert failure["logTail"].endswith("rank 2: step 4 done")


def test_a_process_without_our_handler_is_never_sent_the_signal(tmp_path: Path) -> None:
    (tmp_path / files.STACKS).touch()
    child = os.fork()
    if not child:
        os.open(tmp_path / files.STACKS, os.O_WRONLY)
        signal.signal(STACKS_SIGNAL, signal.SIG_DFL)
        signal.pause()
        os._exit(1)
    try:
        [found] = stacks.collect(str(tmp_path), child, None)
        assert (found.pid, found.frames) == (child, ())
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_program_that_has_closed_the_file_is_not_asked_to_write_into_another(tmp_path: Path) -> None:
    script = "import os, sys, time\nos.closerange(3, 1024)\nprint('up', flush=True)\ntime.sleep(3600)"
    read, write = os.pipe()
    env = {
        "FTJOB_RANK_DIR": str(tmp_path),
        "FTJOB_RANK": "0",
        variables.STACKS_SIGNAL: str(STACKS_SIGNAL),
        "PYTHONPATH": str(OPERATOR / "ftjob_agent" / "hooks"),
    }
    command = [sys.executable, "-c", script]
    child = os.posix_spawn(command[0], command, env, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
    os.close(write)
    try:
        assert os.read(read, 3) == b"up\n"
        [found] = stacks.collect(str(tmp_path), child, None)
        assert found.frames == ()
        assert (tmp_path / files.STACKS).read_bytes() == b""
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
