"""What a rank, or another user of the volume, may put where the agent expects a file of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.agent_runs import plan, wait_for
from support.ports import free_port

from ftjob_protocol import files

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import Agents

OF_A_RANK = [
    files.STEPS,
    files.METRICS,
    files.FAILURE,
    files.HOOKS,
    files.STACKS,
    files.PROGRESS,
    files.TORCHELASTIC_FAILURE,
]


@pytest.mark.parametrize("name", OF_A_RANK)
def test_a_fifo_in_the_ranks_folder_hangs_nothing(agents: Agents, name: str) -> None:
    source = f"""
os.mkfifo(os.path.join(os.environ["FTJOB_RANK_DIR"], {name!r}))
mark('up')
while not os.path.exists('go'): time.sleep(0.01)
sys.exit(7)
"""
    run = agents.script(plan(watchdog={"hangSeconds": 600, "counts": True}), source)
    wait_for((run.folder / "up-0").exists, "the FIFO")
    wait_for(lambda: run.progress().get("state") == "Running", "the agent's answer")
    (run.folder / "go").touch()
    assert run.wait() == 7
    assert (run.failure["class"], run.failure["exitCode"]) == ("Exit", 7)


def test_sigterm_is_heard_beside_a_fifo(agents: Agents) -> None:
    source = """
for name in ('progress.jsonl', 'metrics.json', 'steps.bin'):
    os.mkfifo(os.path.join(os.environ["FTJOB_RANK_DIR"], name))
mark('up'); signal.pause()
"""
    run = agents.script(plan(), source)
    wait_for((run.folder / "up-0").exists, "the FIFOs")
    run.terminate()
    assert run.wait() == 143
    assert run.message["state"] == "Stopped"


def test_a_hang_beside_fifos_is_found_all_the_same(agents: Agents) -> None:
    source = """
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file: file.write('{"step": 1}\\n')
for name in ('stacks.txt', 'steps.bin'):
    os.mkfifo(os.path.join(os.environ["FTJOB_RANK_DIR"], name))
signal.pause()
"""
    run = agents.script(plan(watchdog={"hangSeconds": 1, "counts": True}), source)
    assert run.wait() == 143
    assert run.failure["class"] == "Hang"


def test_a_termination_log_that_is_a_fifo_hangs_nothing(agents: Agents, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    run = agents.script(plan(), "sys.exit(7)", env={"FTJOB_TERMINATION_LOG": str(tmp_path / "log")})
    assert run.wait() == 7


def test_the_child_that_serves_the_rendezvous_has_no_token(agents: Agents, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\nenv >{tmp_path}/env\nexit 1\n")
    python.chmod(0o755)
    rendezvous = {"kind": "Horovod", "port": free_port(), "hostPrefix": "a"}
    env = {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    run = agents.start(plan(rendezvous=rendezvous), ["./train"], env=env)
    assert run.wait() == 2
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "PATH" in names
    assert not {"FTJOB_TOKEN_FILE", "FTJOB_AGENT_CONFIG"} & names


def test_a_link_in_place_of_the_ranks_folder_is_not_cleared(agents: Agents, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rank-00000").symlink_to(tmp_path / "home")
    run = agents.script(plan(), "", env={"FTJOB_RUN_DIR": str(tmp_path / "run")})
    assert run.wait() == 2
    assert "a link or no folder" in run.failure["message"]
    assert (tmp_path / "home" / "thesis").exists()


def test_a_record_that_names_another_process_ends_nobody(agents: Agents) -> None:
    source = """
import json
path = os.path.join(os.environ["FTJOB_RANK_DIR"], "failure.json")
mark('up')
while not os.path.exists('pid'): time.sleep(0.01)
for pid in (int(open('pid').read()), os.getppid(), 0, -1, 2 ** 70, 'x', None):
    with open(path + '.tmp', 'w') as file:
        json.dump({"pid": pid, "timeNs": time.time_ns(), "type": "ValueError"}, file)
    os.rename(path + '.tmp', path)
    time.sleep(1.2)
sys.exit(7)
"""
    bystander = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
    try:
        run = agents.script(plan(exceptionGraceSeconds=0), source)
        wait_for((run.folder / "up-0").exists, "the rank's start")
        (run.folder / "pid.tmp").write_text(str(bystander.pid))
        (run.folder / "pid.tmp").rename(run.folder / "pid")
        assert run.wait() == 7
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
