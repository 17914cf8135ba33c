"""How agents end when their pod is told to: ranks have their grace once, whatever else comes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.agent_runs import is_alive, plan, star_plans, wait_for

if TYPE_CHECKING:
    from support.agent_runs import AgentRun, Agents

TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]


def test_sigterm_is_passed_on_and_what_ranks_then_return_is_stopped(agents: Agents) -> None:
    source = """
signal.signal(signal.SIGTERM, lambda *_: (mark('saved'), os._exit(3)))
mark('up'); wait_for_signals()
"""
    run = agents.script(plan(ranks=TWO, worldSize=2), source)
    wait_for(lambda: all((run.folder / f"up-{rank}").exists() for rank in range(2)), "the ranks' start")
    run.terminate()
    assert run.wait() == 143
    assert all((run.folder / f"saved-{rank}").exists() for rank in range(2))
    assert run.message["state"] == "Stopped"
    assert run.failure["class"] == "Stopped"


def test_a_rank_that_ignores_sigterm_is_killed_after_the_grace(agents: Agents) -> None:
    source = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); mark('up', os.getpid())\nwhile True: time.sleep(60)"
    )
    run = agents.script(plan(stopGraceSeconds=0.3), source)
    wait_for((run.folder / "up-0").exists, "the rank's start")
    run.terminate()
    assert run.wait() == 143
    assert not is_alive(int(run.text("up-0")))


def test_a_message_is_there_before_a_stubborn_rank_has_ended(agents: Agents) -> None:
    source = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); mark('up')\n"
        "while not os.path.exists('go'): time.sleep(0.01)"
    )
    run = agents.script(plan(stopGraceSeconds=600), source)
    wait_for((run.folder / "up-0").exists, "the rank's start")
    run.terminate()
    wait_for(run.log.exists, "the first message")
    assert run.message["state"] == "Stopped"
    (run.folder / "go").touch()
    assert run.wait() == 143


SAVES = """
def save(*_):
    mark('saving')
    while not os.path.exists('go'): time.sleep(0.01)
    mark('saved')
    os._exit(0)
signal.signal(signal.SIGTERM, save); mark('up'); wait_for_signals()
"""


def _drained(run: AgentRun) -> None:
    """Wait until the agent has taken in the signals that were sent to it."""
    path = Path(f"/proc/{run.process.pid}/status")
    pending = ("SigPnd:", "ShdPnd:")
    wait_for(
        lambda: all(int(line.split()[1], 16) == 0 for line in path.read_text().splitlines()
                    if line.startswith(pending)),
        "the signal's delivery",
    )  # fmt: skip
    assert run.progress()["state"]  # answered by the same loop, after what was posted to it before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_only_the_first_signal_to_end_counts(agents: Agents, number: int) -> None:
    run = agents.script(plan(stopGraceSeconds=600), SAVES)
    wait_for((run.folder / "up-0").exists, "the rank's start")
    run.terminate()
    wait_for((run.folder / "saving-0").exists, "the checkpoint's begin")
    for _ in range(3):
        run.process.send_signal(number)
        _drained(run)
    (run.folder / "go").touch()
    assert run.wait() == 143
    assert (run.folder / "saved-0").exists()


def test_sigterm_again_while_a_peers_sigterm_ends_the_ranks_changes_nothing(agents: Agents) -> None:
    plans = star_plans(2, 1, stopGraceSeconds=600)
    runs = [agents.script(config, SAVES) for config in plans]
    wait_for(lambda: all(list(run.folder.glob("up-*")) for run in runs), "the ranks' start")
    runs[1].terminate()
    wait_for(lambda: all(list(run.folder.glob("saving-*")) for run in runs), "the checkpoints' begin")
    for _ in range(2):
        runs[0].terminate()
        _drained(runs[0])
    for run in runs:
        (run.folder / "go").touch()
    assert [run.wait() for run in runs] == [143, 143]
    assert all(list(run.folder.glob("saved-*")) for run in runs)


def _catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_sigterm_while_waiting_for_peers_ends_at_once(agents: Agents) -> None:
    leader = agents.script(plan(agents=2, worldSize=2), "mark('ran')")
    follower = agents.script(plan(index=1, agents=2, ranks=TWO[1:]), "mark('ran')")
    wait_for(lambda: leader.progress().get("state") == "Waiting", "the leader's answer")
    wait_for(lambda: _catches_sigterm(follower.process.pid), "the follower's signal handler")
    for run in (leader, follower):
        run.terminate()
        assert run.wait() == 143
        assert run.message["state"] == "Stopped"
        assert not list(run.folder.glob("ran-*"))


PROGRAM = """
import os, signal, sys, time
def save(*_):
    for part in range(10):
        print('part', part, flush=True)
        time.sleep(0.05)
    open('checkpoint', 'w').close()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
open('up', 'w').write(str(os.getpid()))
while True: time.sleep(0.05)
"""
RUN = f"{sys.executable} -S program.py"
IN_FRONT = {
    "a shell that reports the code": ["sh", "-c", f"{RUN}; code=$?; echo ended with $code; exit $code"],
    "a pipe to tee": ["sh", "-c", f"{RUN} 2>&1 | tee log"],
    "a pipe through two filters": ["sh", "-c", f"{RUN} 2>&1 | sed -u s/part/PART/ | tee log"],
    "a shell in a shell": ["sh", "-c", f"sh -c '{RUN}; true'; true"],
    "bash that writes to tee": ["bash", "-c", f"exec > >(tee log) 2>&1; {RUN}; echo done"],
    "a launcher that forgets its child": [
        sys.executable, "-S", "-c", f"import subprocess; subprocess.run({RUN.split()!r})"
    ],
    "a session of its own": ["sh", "-c", f"setsid --wait {RUN}; true"],
    "an empty environment": ["sh", "-c", f"env -i setsid --wait {RUN}; true"],
    "env": ["env", "A=1", *RUN.split()],
    "a shell that passes it on": ["sh", "-c", f"trap 'kill $!; wait $!; exit 7' TERM; {RUN} & wait $!"],
}  # fmt: skip


@pytest.mark.parametrize("front", IN_FRONT.values(), ids=IN_FRONT)
def test_what_stands_in_front_of_a_program_does_not_cost_its_checkpoint(
    agents: Agents, tmp_path: Path, front: list[str]
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    run = agents.start(plan(stopGraceSeconds=600), ["sh", "-c", 'cd "$0"; exec "$@"', str(tmp_path), *front])
    up = tmp_path / "up"
    wait_for(lambda: up.exists() and up.read_text(), "the program's start")
    run.terminate()
    assert run.wait() == 143
    assert run.failure["class"] == "Stopped"
    assert (tmp_path / "checkpoint").exists()
    assert not is_alive(int(up.read_text()))


def test_only_the_first_process_of_a_rank_gets_sigterm(agents: Agents) -> None:
    source = """
worker = os.fork()
if worker == 0:
    signal.signal(signal.SIGTERM, lambda *_: mark('struck'))
    while True: time.sleep(0.05)
def save(*_):
    time.sleep(0.5)
    mark('saved', os.path.exists('struck-0'))
    os.kill(worker, signal.SIGKILL)
    os.wait()
    os._exit(0)
signal.signal(signal.SIGTERM, save); mark('up'); wait_for_signals()
"""
    run = agents.script(plan(stopGraceSeconds=600), source)
    wait_for((run.folder / "up-0").exists, "the rank's start")
    run.terminate()
    assert run.wait() == 143
    assert run.text("saved-0") == "False"


def test_what_a_rank_leaves_behind_is_killed_when_the_grace_is_over(agents: Agents) -> None:
    stays = f"{sys.executable} -S -c \"import os, signal; signal.signal(15, signal.SIG_IGN); open('pid', 'w').write(str(os.getpid())); signal.pause()\""  # fmt: skip # noqa: E501
    run = agents.start(plan(stopGraceSeconds=0.5), ["sh", "-c", f"{stays}; true"])
    pid = run.folder / "pid"
    wait_for(lambda: pid.exists() and pid.read_text(), "the rank's start")
    run.terminate()
    assert run.wait() == 143
    assert not is_alive(int(pid.read_text()))


def test_peers_of_a_pod_that_is_told_to_end_save_behind_their_shells(agents: Agents, tmp_path: Path) -> None:
    plans = star_plans(2, 1, stopGraceSeconds=600)
    (tmp_path / "program.py").write_text(PROGRAM)
    command = ["sh", "-c", f"{RUN.replace('program.py', str(tmp_path / 'program.py'))} | tee log; true"]
    runs = [agents.start(config, command) for config in plans]
    wait_for(lambda: all((run.folder / "up").exists() for run in runs), "the ranks' start")
    runs[1].terminate()
    assert [run.wait() for run in runs] == [143, 143]
    assert all((run.folder / "checkpoint").exists() for run in runs)
