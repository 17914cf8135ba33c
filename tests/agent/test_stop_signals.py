"""How agents end when their pod is told to: ranks have their grace once, whatever else comes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.agent_runs import is_alive, plan, star_plans, wait_for

if TYPE_CHECKING:
    from support.agent_runs import AgentRun, Agents

TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]


def test_sigterm_is_passed_on_and_what_ranks_then_return_is_stopped(agents: Agents) -> None:
    source = (
        "signal.signal(signal.SIGTERM, lambda *_: (mark('saved'), os._exit(3))); mark('up'); signal.pause()"
    )
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
signal.signal(signal.SIGTERM, save); mark('up'); signal.pause()
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
