"""One agent with real ranks: exit codes, environment, output, signals, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.agent_runs import is_alive, plan, wait_for
from support.agent_zipapp import build_agent
from support.ports import free_port

if TYPE_CHECKING:
    from support.agent_runs import Agents

TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]


def test_success_is_exit_code_0_and_says_so(agents: Agents) -> None:
    run = agents.script(plan(), "print('hello')")
    assert run.wait() == 0
    assert run.message["state"] == "Succeeded"
    assert run.message["failure"] is None
    assert run.text("stdout") == "hello\n"


@pytest.mark.parametrize(
    ("source", "code", "kind", "words"),
    [
        ("os._exit(7)", 7, "Exit", "said nothing"),
        ("sys.exit('no such file: data.csv')", 1, "Exit", "no such file: data.csv"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "Signal", "killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, "Signal", "killed by SIGSEGV"),
        ("record(ValueError('bad label')); sys.exit(1)", 1, "Exception", "ValueError: bad label"),
        (
            "sys.stderr.write('gloo::IoException: read: Connection reset by peer'); os.abort()",
            134,
            "PeerLost",
            "gloo",
        ),
        (
            "record(RuntimeError('Connection closed by peer [10.0.0.7]')); sys.exit(1)",
            1,
            "PeerLost",
            "closed by peer",
        ),
    ],
)
def test_a_failed_rank_gives_its_exit_code_class_and_last_words(
    agents: Agents, source: str, code: int, kind: str, words: str
) -> None:
    run = agents.script(plan(), source)
    assert run.wait() == code
    assert run.message["state"] == "Failed"
    assert (run.failure["rank"], run.failure["exitCode"], run.failure["class"]) == (0, code, kind)
    assert words in run.failure["message"]


def test_a_rank_gets_the_plans_environment_and_the_agents_but_no_secrets(agents: Agents) -> None:
    planned = {"A": "plan", "B": "plan", "HOST": "@LEADER_IP@", "IF": "=@IFACE@"}
    run = agents.script(
        plan(ranks=[{"rank": 0, "localRank": 0, "env": planned}]),
        "mark('env', json.dumps(dict(os.environ)))",
        env={"B": "container"},
    )
    assert run.wait() == 0
    env = json.loads(run.text("env-0"))
    assert (env["A"], env["B"], env["HOST"], env["IF"]) == ("plan", "container", "127.0.0.1", "=lo")
    assert "FTJOB_TOKEN_FILE" not in env
    assert "FTJOB_AGENT_CONFIG" not in env
    assert env["FTJOB_RANK_DIR"] == str(run.folder / "run" / "rank-00000")
    assert env["FTJOB_PROGRESS_FILE"].startswith(env["FTJOB_RANK_DIR"])
    assert env["TORCHELASTIC_ERROR_FILE"].startswith(env["FTJOB_RANK_DIR"])
    hooks, _, rest = env["PYTHONPATH"].partition(":")
    assert Path(hooks).parts[-2:] == ("ftjob_agent", "hooks")
    assert rest
    assert env["PYTHONUNBUFFERED"] == env["PYTHONFAULTHANDLER"] == "1"
    assert "FTJOB_PROFILE" not in env


def test_only_ranks_that_take_part_in_a_scheduled_capture_are_told_of_it(
    agents: Agents, tmp_path: Path
) -> None:
    outputs = str(tmp_path / "outputs")
    schedule = {"skipFirst": 1, "wait": 1, "warmup": 1, "active": 2, "repeat": 1}
    profiling = {
        "mode": "Scheduled",
        "schedule": schedule,
        "ranks": [1],
        "tools": ["Framework"],
        "options": {},
    }
    run = agents.script(
        plan(ranks=TWO, worldSize=2, outputs=outputs, profiling=profiling),
        "mark('profile', os.environ.get('FTJOB_PROFILE', ''))",
    )
    assert run.wait() == 0
    assert json.loads(run.text("profile-0"))["schedule"] == {}
    assert json.loads(run.text("profile-1")) == {
        "id": "s0",
        "captureDir": f"{outputs}/captures",
        "pluginsDir": f"{outputs}/plugins/profile",
        "schedule": schedule,
        "tools": ["Framework"],
        "options": {},
    }


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["no-such-program"], 127, "'no-such-program' not found on PATH"),
        (["/no/such/program"], 127, "'/no/such/program' not found"),
        (["/etc/passwd"], 126, "may not be executed"),
    ],
)
def test_a_command_that_cannot_run_is_named_with_the_remedy(
    agents: Agents, command: list[str], code: int, words: str
) -> None:
    run = agents.start(plan(), command)
    assert run.wait() == code
    assert run.failure["class"] == "Config"
    assert words in run.failure["message"]
    assert "spec.template" in run.failure["message"]
    assert words in run.text("stderr")


def test_folders_that_cannot_be_written_are_named_with_uid_and_remedy(agents: Agents) -> None:
    nowhere = "/sys/kernel/ftjob-outputs"  # where not even root may make a folder
    run = agents.script(plan(outputs=nowhere), "")
    assert run.wait() == 2
    assert run.failure["class"] == "Config"
    for words in (nowhere, f"uid {os.getuid()}", "fsGroup", "spec.outputs"):
        assert words in run.failure["message"]


def test_a_file_in_place_of_a_folder_is_named_with_the_remedy(agents: Agents, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    run = agents.script(plan(outputs=str(tmp_path / "a-file" / "outputs")), "")
    assert run.wait() == 2
    assert f"{tmp_path}/a-file/outputs is a link or no folder" in run.failure["message"]


def test_a_port_in_use_is_named(agents: Agents) -> None:
    first = agents.script(plan(), "mark('up'); signal.pause()")
    wait_for((first.folder / "up-0").exists, "the rank's start")
    second = agents.script(plan(port=first.config["port"]), "")
    assert second.wait() == 2
    assert second.failure["class"] == "Config"
    assert f"port {first.config['port']}" in second.failure["message"]


def test_an_identity_variable_from_elsewhere_is_refused(agents: Agents) -> None:
    ranks = [{"rank": 0, "localRank": 0, "env": {"WORLD_SIZE": "4"}}]
    run = agents.script(
        plan(ranks=ranks, identity=["WORLD_SIZE", "PET_*"]), "mark('ran')", env={"WORLD_SIZE": "1"}
    )
    assert run.wait() == 2
    assert run.failure["class"] == "Config"
    assert "WORLD_SIZE='1'" in run.failure["message"]
    assert "'4'" in run.failure["message"]
    assert not (run.folder / "ran-0").exists()
    same = agents.script(plan(ranks=ranks, identity=["WORLD_SIZE"]), "", env={"WORLD_SIZE": "4"})
    assert same.wait() == 0
    prefix = agents.script(plan(identity=["PET_*"]), "", env={"PET_NNODES": "1"})
    assert prefix.wait() == 2
    assert "PET_NNODES" in prefix.failure["message"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "not JSON"),
        ("{}", "version"),
        (json.dumps(plan(ranks=[])), "ranks"),
        (json.dumps(plan(index="x")), "index"),
    ],
)
def test_a_plan_that_it_does_not_understand_is_refused_with_the_field(
    agents: Agents, config: str, words: str
) -> None:
    run = agents.script(config, "")
    assert run.wait() == 2
    assert run.failure["class"] == "Config"
    assert words in run.failure["message"]


def test_other_signals_are_forwarded(agents: Agents) -> None:
    source = "signal.signal(signal.SIGUSR1, lambda *_: os._exit(0)); mark('up'); wait_for_signals()"
    run = agents.script(plan(), source)
    wait_for((run.folder / "up-0").exists, "the rank's start")
    run.process.send_signal(signal.SIGUSR1)
    assert run.wait() == 0


def test_siblings_of_a_failed_rank_end_even_if_they_ignore_sigterm(agents: Agents) -> None:
    source = """
if rank == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark('up', os.getpid())
    while True: time.sleep(60)
while not os.path.exists('up-0'): time.sleep(0.01)
os._exit(5)
"""
    run = agents.script(plan(ranks=TWO, worldSize=2), source)
    assert run.wait() == 5
    assert run.failure["rank"] == 1
    assert not is_alive(int(run.text("up-0")))


def test_a_victim_that_exits_before_the_culprit_is_not_named(agents: Agents) -> None:
    # As with Horovod: HorovodInternalError ends the survivor while the culprit is in its atexit handlers.
    source = """
if rank == 0:
    while not os.path.exists('raised-1'): time.sleep(0.01)
    record(type('HorovodInternalError', (Exception,), {})('Connection closed by peer'))
    sys.exit(1)
record(ValueError('the culprit'))
mark('raised')
time.sleep(0.4)
sys.exit(1)
"""
    run = agents.script(plan(ranks=TWO, worldSize=2), source)
    assert run.wait() == 1
    assert (run.failure["rank"], run.failure["type"]) == (1, "ValueError")


def test_a_rank_that_hangs_after_its_exception_does_not_hold_up_the_job(agents: Agents) -> None:
    source = "record(ValueError('raised, then stuck in atexit')); signal.pause()"
    run = agents.script(plan(), source)
    assert run.wait() == 1
    assert run.failure["class"] == "Exception"


def test_a_child_that_holds_stderr_open_holds_up_nothing_and_is_ended(agents: Agents) -> None:
    source = """
import subprocess
child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'], start_new_session=True)
mark('child', child.pid)
sys.stderr.write('the last words')
os._exit(9)
"""
    run = agents.script(plan(), source)
    assert run.wait(20) == 9
    assert run.failure["message"] == "the last words"
    assert not is_alive(int(run.text("child-0")))


def test_orphans_are_reaped_while_ranks_run(agents: Agents) -> None:
    source = """
if os.fork() == 0:
    orphan = os.fork()
    if orphan == 0:
        os._exit(0)
    mark('orphan', orphan)
    os._exit(0)
os.wait()
signal.pause()
"""
    run = agents.script(plan(), source)
    wait_for((run.folder / "orphan-0").exists, "the orphan")
    orphan = int(run.text("orphan-0"))
    wait_for(lambda: not Path(f"/proc/{orphan}").exists(), "the reaping of the orphan")
    run.terminate()
    assert run.wait() == 143


def test_a_rank_may_close_stderr(agents: Agents) -> None:
    run = agents.script(plan(), "os.close(2); mark('up'); os._exit(4)")
    assert run.wait() == 4


def test_much_output_passes_unchanged_in_bounded_memory(agents: Agents) -> None:
    megabytes = 1000
    source = f"""
line = b'0123456789abcde\\n' * 65536
for _ in range({megabytes}): os.write(2, line)
mark('peak', [l for l in open(f'/proc/{{os.getppid()}}/status') if 'VmHWM' in l][0].split()[1])
sys.exit(1)
"""
    with open("/dev/null", "wb") as nowhere:  # noqa: PTH123 - a file object for Popen
        run = agents.script(plan(), source, stderr=nowhere)
    assert run.wait(120) == 1
    assert int(run.text("peak-0")) < 64 * 1024
    assert run.failure["message"].endswith("0123456789abcde")


def test_a_reader_that_does_not_read_slows_the_rank_and_nothing_is_lost(agents: Agents) -> None:
    source = "data = b'x' * 4000000\nsys.stderr.buffer.write(data); mark('written')"
    read, write = os.pipe()
    run = agents.script(plan(), source, stderr=write)
    os.close(write)
    size = 0
    while True:
        data = os.read(read, 1 << 20)
        if not data:
            break
        size += len(data)
    os.close(read)
    assert run.wait() == 0
    assert size == 4000000


def test_kept_logs_hold_both_streams_which_also_pass_through(agents: Agents, tmp_path: Path) -> None:
    source = "print('out', flush=True); sys.stderr.write('err\\nno newline')"
    run = agents.script(plan(outputs=str(tmp_path / "outputs"), keepLogs=True), source)
    assert run.wait() == 0
    log = (tmp_path / "outputs/logs/rank-00000.log").read_text()
    assert sorted(log.splitlines()) == ["err", "no newline", "out"]
    assert (run.text("stdout"), run.text("stderr")) == ("out\n", "err\nno newline")


def test_the_message_fits_whatever_the_traceback_and_keeps_its_end(agents: Agents) -> None:
    source = "record(ValueError('é\\x00\"\\\\\\ud800漢' * 20000 + 'THE END')); sys.exit(1)"
    run = agents.script(plan(), source)
    assert run.wait() == 1
    assert len(run.log.read_bytes()) <= 4096
    assert run.failure["message"].endswith("THE END")
    assert len(run.log.read_bytes()) > 3900


def test_the_zipapp_is_reproducible_and_runs_with_its_hooks(agents: Agents, tmp_path: Path) -> None:
    app, again = build_agent(tmp_path / "ftjob-agent.pyz"), build_agent(tmp_path / "again.pyz")
    assert app.read_bytes() == again.read_bytes()
    run = agents.start(
        plan(),
        [sys.executable, "-c", "import sitecustomize, sys; print(sys.path[1])"],
        agent=[sys.executable, str(app)],
        env={"PYTHONPATH": ""},
    )
    assert run.wait() == 0, run.text("stderr")
    assert run.text("stdout").strip() == f"{app}/ftjob_agent/hooks"


def test_usage_without_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ftjob_agent"],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2] / "operator",
    )
    assert done.returncode == 2
    assert b"usage" in done.stderr


def test_the_port_is_free_again(agents: Agents) -> None:
    port = free_port()
    for _ in range(2):
        assert agents.script(plan(port=port), "").wait() == 0
