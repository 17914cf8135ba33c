"""`ftjob run` on real processes, by tiny scripts."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.local_run import command, plain_job, read_until, run, start, wait_until_released

SAYS_WHO_IT_IS = """
import os, sys
e = os.environ
rank, size, pod, local = (e[f"FTJOB_{key}"] for key in ("RANK", "WORLD_SIZE", "POD_NAME", "LOCAL_RANK"))
print("rank", rank, "of", size, "in", pod, "local", local)
print("on stderr", file=sys.stderr)
"""

HOLDS_A_FIFO = """
import os, signal, sys, time
{prologue}
fifo = os.open(os.environ["FIFO"], os.O_WRONLY)
print("holding", flush=True)
while True:
    time.sleep(1)
"""


def held_job(
    folder: Path, prologue: str = "", workers: int = 2, processes: int = 2
) -> tuple[dict[str, Any], Path]:
    """Return a job whose ranks hold a fifo open for as long as they live."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    script = HOLDS_A_FIFO.format(prologue=prologue)
    env = [{"name": "FIFO", "value": str(fifo)}]
    return plain_job(script, workers=workers, processes=processes, env=env), fifo


def test_two_workers_of_two_ranks_succeed(tmp_path: Path) -> None:
    ran = run(plain_job(SAYS_WHO_IT_IS, workers=2, processes=2), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.status["phase"] == "Succeeded"
    conditions = {c["type"]: c["status"] for c in ran.status["conditions"]}
    assert conditions["Succeeded"] == conditions["Finished"] == "True"
    assert ran.status["roles"][0] | {"name": "worker"} == ran.status["roles"][0]
    assert ran.status["roles"][0]["succeeded"] == 2
    for rank in range(4):
        line = f"rank {rank} of 4 in job-worker-0-{rank // 2} local {rank % 2}"
        assert line in ran.log(rank)
        assert "on stderr" in ran.log(rank)
        assert f"\n[rank {rank}] {line}\n" in ran.stdout
        assert "[rank" not in ran.log(rank)


def test_job_file_is_what_kubectl_would_show(tmp_path: Path) -> None:
    job = plain_job("print('hello')")
    ran = run(job, tmp_path)
    assert ran.job["spec"] == job["spec"]
    assert ran.job["metadata"]["name"] == "job"
    assert ran.job["metadata"]["namespace"] == "default"
    assert {"uid", "creationTimestamp", "generation"} <= ran.job["metadata"].keys()
    assert {"startTime", "completionTime", "phase"} <= ran.status.keys()


def test_job_file_is_kept_current(tmp_path: Path) -> None:
    job, fifo = held_job(tmp_path, workers=1, processes=1)
    process = start(job, tmp_path)
    reader = os.open(fifo, os.O_RDONLY)
    try:
        read_until(process, "ftjob: Running")
        job_file = yaml.safe_load((tmp_path / "out" / "job.yaml").read_text())
        assert job_file["status"]["phase"] == "Running"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        os.close(reader)


def test_first_failing_rank_and_its_traceback_are_named(tmp_path: Path) -> None:
    script = """
import os, time
if os.environ["FTJOB_RANK"] == "3":
    raise ValueError("the learning rate is negative")
time.sleep(600)
"""
    ran = run(plain_job(script, workers=2, processes=2), tmp_path)
    assert ran.code == 1
    failure = ran.status["failure"]
    assert (failure["rank"], failure["index"], failure["pod"], failure["exitCode"]) == (
        3,
        1,
        "job-worker-0-1",
        1,
    )
    assert failure["message"].endswith("ValueError: the learning rate is negative")
    assert "rank 3 in job-worker-0-1 failed" in ran.stdout
    assert ran.stdout.count("ValueError: the learning rate is negative") >= 2  # the log and the summary


def test_the_failing_ranks_last_lines_are_in_the_status_and_shown_at_the_end(tmp_path: Path) -> None:
    script = """
import os, time
rank = os.environ["FTJOB_RANK"]
print("this is rank", rank)
if rank == "1":
    os._exit(7)
time.sleep(600)
"""
    ran = run(plain_job(script, workers=2), tmp_path)
    assert ran.code == 1
    assert ran.status["failure"]["logTail"] == "this is rank 1"
    assert "its last lines:\n  | this is rank 1\n" in ran.stdout


def test_progress_of_the_script_is_in_the_status(tmp_path: Path) -> None:
    script = """
import json, os
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
    file.write(json.dumps({"step": 40, "totalSteps": 40, "metrics": {"loss": 0.25}}) + "\\n")
"""
    ran = run(plain_job(script), tmp_path)
    progress = ran.status["progress"]
    assert (progress["step"], progress["totalSteps"], progress["percent"]) == (40, 40, 100.0)
    assert progress["metrics"] == {"loss": 0.25}


def test_where_the_time_went_is_in_the_status_and_shown_at_the_end(tmp_path: Path) -> None:
    """Attempt 1 goes on from a checkpoint at step 20, ten steps before the one that attempt 0 died after."""
    script = """
import json, os, time
e = os.environ
begin, end = ((1, 30), (21, 60))[int(e["FTJOB_ATTEMPT"])]
time.sleep(2)
for step in range(begin, end + 1):
    time.sleep(0.1)
    with open(e["FTJOB_PROGRESS_FILE"], "a") as file:
        file.write(json.dumps({"step": step}) + "\\n")
if end == 30:
    os._exit(137)
time.sleep(2)
"""
    job = plain_job(script)
    job["spec"]["restart"] = {"limit": 1, "backoffSeconds": 0}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stderr
    found = dict(ran.status["timeline"])
    began = datetime.fromisoformat(ran.job["metadata"]["creationTimestamp"])
    assert found.pop("since") == ran.status["completionTime"]
    whole = (datetime.fromisoformat(ran.status["completionTime"]) - began).total_seconds()
    assert sum(found.values()) == whole
    assert {"compiling", "stepping", "lost", "idle"} <= set(found)
    assert "time:     " in ran.stdout
    assert "lost " in ran.stdout.partition("time:     ")[2].partition("\n")[0]


def test_json_output_is_the_status_alone(tmp_path: Path) -> None:
    ran = run(plain_job("print('hello')"), tmp_path, "-o", "json")
    assert json.loads(ran.stdout) == ran.status
    assert "[rank 0] hello" in ran.stderr


def test_quiet_prints_nothing_unless_the_job_fails(tmp_path: Path) -> None:
    no_gpus = {"CUDA_VISIBLE_DEVICES": ""}  # one that the job doesn't ask for is worth a word
    good = run(plain_job("print('hello')"), tmp_path, "--quiet", **no_gpus)
    assert (good.code, good.stdout, good.stderr) == (0, "", "")
    (tmp_path / "bad").mkdir()
    bad = run(plain_job("raise SystemExit(7)"), tmp_path / "bad", "--quiet")
    assert bad.code == 1
    assert "exit code 7" in bad.stderr


@pytest.mark.parametrize("program", ["python", "python3"])
def test_python_is_the_interpreter_of_ftjob(tmp_path: Path, program: str) -> None:
    job = plain_job("import ftjob, sys; print('prefix', sys.prefix)", command=[program, "-c"])
    ran = run(job, tmp_path, PATH="/usr/bin:/bin")
    assert ran.code == 0, ran.stdout
    assert f"prefix {sys.prefix}" in ran.log(0)


def test_another_interpreter_can_be_named(tmp_path: Path) -> None:
    other = tmp_path / "other-python"
    other.symlink_to(Path(os.path.realpath("/proc/self/exe")))
    ran = run(
        plain_job("import sys; print('runs by', sys.argv, sys.orig_argv[0])"),
        tmp_path,
        "--python",
        str(other),
    )
    assert ran.code == 0, ran.stdout + ran.stderr
    assert str(other) in ran.log(0)


def test_pod_environment_and_expansion_reach_the_ranks(tmp_path: Path) -> None:
    env = [
        {"name": "BASE", "value": "/data"},
        {"name": "SUB", "value": "$(BASE)/sub $$(BASE) $(NOBODY)"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "ROLE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['ftjob.dev/role']"}}},
    ]
    script = "import os, sys; e = os.environ; print([e['SUB'], e['NODE'], e['IP'], e['ROLE'], sys.argv[1]])"
    job = plain_job(script, env=env)
    job["spec"]["template"]["spec"]["containers"][0]["args"].append("$(SUB) $(FTJOB_INDEX)")
    ran = run(job, tmp_path)
    expected = ["/data/sub $(BASE) $(NOBODY)", os.uname().nodename, "127.0.0.1", "worker"]
    assert str([*expected, f"{expected[0]} 0"]) in ran.log(0)


def test_secret_comes_from_the_callers_environment(tmp_path: Path) -> None:
    reference = {"secretKeyRef": {"name": "wandb", "key": "token"}}
    job = plain_job(
        "import os; print(os.environ['API_TOKEN'])", env=[{"name": "API_TOKEN", "valueFrom": reference}]
    )
    assert "s3cret" in run(job, tmp_path, API_TOKEN="s3cret").log(0)


def test_missing_secret_is_named_with_the_remedy(tmp_path: Path) -> None:
    reference = {"secretKeyRef": {"name": "wandb", "key": "token"}}
    ran = run(plain_job("", env=[{"name": "API_TOKEN", "valueFrom": reference}]), tmp_path)
    assert ran.code == 2
    assert "env[API_TOKEN]" in ran.stderr
    assert "API_TOKEN=... ftjob run" in ran.stderr
    assert not (tmp_path / "out" / "job.yaml").exists()


def test_identity_of_the_caller_does_not_reach_the_ranks(tmp_path: Path) -> None:
    ran = run(plain_job("import os; print('RANK' in os.environ)"), tmp_path, RANK="5", WORLD_SIZE="8")
    assert ran.code == 0, ran.stdout
    assert "False" in ran.log(0)


def test_working_dir_is_honoured(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    ran = run(plain_job("import os; print(os.getcwd())", workingDir=str(tmp_path / "code")), tmp_path)
    assert str(tmp_path / "code") in ran.log(0)


def test_what_a_pod_would_have_is_noted(tmp_path: Path) -> None:
    job = plain_job(
        "", workingDir="/nowhere/app", volumeMounts=[{"name": "data", "mountPath": "/nowhere/data"}]
    )
    job["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    job["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "none"})
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout
    assert "workingDir: /nowhere/app is not on this machine" in ran.stdout
    assert "volumeMounts[data]: nothing is mounted at /nowhere/data" in ran.stdout
    assert "left out: sidecar" in ran.stdout


def test_command_that_is_not_there_fails_the_job(tmp_path: Path) -> None:
    ran = run(plain_job("", command=["no-such-program"]), tmp_path)
    assert ran.code == 1
    assert "no-such-program" in ran.status["failure"]["message"]
    assert ran.status["failure"]["reason"] == "Config"


def test_outputs_that_can_not_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    ran = run(plain_job(""), tmp_path)
    assert ran.code == 2
    assert "--outputs" in ran.stderr
    assert "name another folder" in ran.stderr


def test_second_run_into_the_same_outputs_is_refused(tmp_path: Path) -> None:
    job, fifo = held_job(tmp_path, workers=1, processes=1)
    process = start(job, tmp_path)
    reader = os.open(fifo, os.O_RDONLY)
    try:
        read_until(process, "holding")
        ran = run(job, tmp_path)
        assert ran.code == 2
        assert "another `ftjob run` writes to" in ran.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        os.close(reader)


def test_next_run_keeps_the_scripts_files_and_moves_the_rest(tmp_path: Path) -> None:
    script = """
import os
path = os.path.join(os.environ["FTJOB_CHECKPOINT_DIR"], "step")
print("resumed" if os.path.exists(path) else "fresh")
open(path, "w").close()
"""
    first = run(plain_job(script), tmp_path)
    uid = first.job["metadata"]["uid"]
    assert first.log(0) == "fresh\n"
    second = run(plain_job(script), tmp_path)
    assert second.log(0) == "resumed\n"
    assert (tmp_path / "out" / "earlier" / uid / "logs" / "rank-00000.log").read_text() == "fresh\n"
    assert f"earlier/{uid}" in second.stdout


def test_time_limit_fails_the_job(tmp_path: Path) -> None:
    ran = run(plain_job("import time; time.sleep(600)"), tmp_path, "--timeout", "2")
    assert ran.code == 1
    assert ran.status["phase"] == "Failed"
    assert {c["reason"] for c in ran.status["conditions"] if c["type"] == "Failed"} == {"TimedOut"}


def _end(process: subprocess.Popen[str], fifo: Path, *signals: int) -> str:
    """Start reading the fifo, send signals when the ranks hold it, and return the output."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    seen = read_until(process, "holding", times=4)
    for number in signals:
        process.send_signal(number)
    seen += process.communicate(timeout=60)[0]
    wait_until_released(reader)
    os.close(reader)
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_all_ranks(tmp_path: Path, number: int) -> None:
    job, fifo = held_job(tmp_path)
    process = start(job, tmp_path)
    _end(process, fifo, number)
    assert process.returncode == 130
    text = (tmp_path / "out" / "job.yaml").read_text()
    assert "phase: Failed" in text
    assert "reason: Interrupted" in text


def test_second_ctrl_c_kills_ranks_that_ignore_the_first(tmp_path: Path) -> None:
    job, fifo = held_job(tmp_path, prologue="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    process = start(job, tmp_path)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    read_until(process, "holding", times=4)
    process.send_signal(signal.SIGINT)
    read_until(process, "once more kills them at once")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_until_released(reader)
    os.close(reader)


def test_no_rank_survives_a_killed_ftjob(tmp_path: Path) -> None:
    job, fifo = held_job(tmp_path)
    process = start(job, tmp_path)
    _end(process, fifo, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_no_rank_survives_a_killed_agent(tmp_path: Path) -> None:
    job, fifo = held_job(tmp_path)
    process = start(job, tmp_path)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    read_until(process, "holding", times=4)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 1
    wait_until_released(reader)
    os.close(reader)


def test_outputs_are_below_the_current_folder_unless_named(tmp_path: Path) -> None:
    (tmp_path / "hello.json").write_text(json.dumps(plain_job("", name="hello")))
    done = subprocess.run(
        [sys.executable, "-m", "ftjob.cli.main", "run", "hello.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "outputs:  ./ftjob-outputs/hello" in done.stdout
    assert (tmp_path / "ftjob-outputs" / "hello" / "job.yaml").exists()


def test_terminal_gets_a_live_table_and_coloured_names(tmp_path: Path) -> None:
    script = """
import json, os
with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
    file.write(json.dumps({"step": 3, "totalSteps": 4}) + "\\n")
print("[bold]hello[/bold]")
"""
    job = plain_job(script, processes=2)
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 100))
    env = os.environ | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        command(job, tmp_path), stdout=slave, stderr=slave, cwd=tmp_path, env=env
    ) as process:
        os.close(slave)
        seen = b""
        while data := _read(master):
            seen += data
        assert process.wait(timeout=60) == 0, seen
    os.close(master)
    text = seen.decode()
    assert "\x1b[36m[rank 0] \x1b[0m[bold]hello[/bold]" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)  # what a terminal shows, and what it then deletes
    last = plain[plain.rindex("step 3/4 (75 %)") :].splitlines()
    assert set(last[1].strip()) <= set("━╸╺"), plain
    assert last[2].split() == ["RANK", "WORKER", "STATE", "STEP"], plain
    assert [line.split() for line in last[3:5]] == [
        [rank, "job-worker-0-0", "Succeeded", "3/4"] for rank in ("0", "1")
    ], plain


@pytest.mark.parametrize(("own", "found"), [({}, None), ({"OMP_NUM_THREADS": "7"}, "7")], ids=["", "own"])
def test_ranks_of_all_workers_share_the_machines_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: dict[str, str], found: str | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ran = run(plain_job("import os; print(os.environ['OMP_NUM_THREADS'])", workers=2), tmp_path, **own)
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert [ran.log(rank).splitlines()[-1] for rank in range(2)] == [found or share] * 2


def test_a_failed_attempt_is_followed_by_another(tmp_path: Path) -> None:
    job = plain_job("import os, sys; sys.exit(42 if os.environ['FTJOB_ATTEMPT'] == '0' else 0)", workers=2)
    job["spec"]["restart"] = {"limit": 1, "retryExitCodes": "42", "backoffSeconds": 0}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.status["attempt"] == 1
    assert ran.status["restarts"]["failures"] == 1


def test_a_suspended_job_is_not_run(tmp_path: Path) -> None:
    job = plain_job("pass")
    job["spec"]["suspend"] = True
    ran = run(job, tmp_path)
    assert ran.code == 2
    assert "spec.suspend" in ran.stderr


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # Linux' way of saying that the last writer is gone
        return b""


@pytest.mark.parametrize(
    ("ignoring", "number"),
    [(["nohup"], signal.SIGHUP), (["sh", "-c", 'trap \'\' INT; exec "$0" "$@"'], signal.SIGINT)],
    ids=["nohup", "a background job"],
)
def test_what_it_was_started_to_ignore_reaches_neither_it_nor_the_ranks(
    tmp_path: Path, ignoring: list[str], number: signal.Signals
) -> None:
    script = (
        "import os, pathlib, signal, sys, time\n"
        f"is_ignored = signal.getsignal({int(number)}) is signal.SIG_IGN\n"
        "print('ignored' if is_ignored else 'not ignored', flush=True)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.02)\n"
        "print('went on', flush=True)\n"
    )
    with subprocess.Popen(
        [*ignoring, *command(plain_job(script), tmp_path)],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            text = read_until(process, "ignored")
            process.send_signal(number)
            (tmp_path / "go").touch()
            assert process.stdout is not None
            text += process.stdout.read()
            assert process.wait() == 0
        finally:
            process.kill()
    assert "not ignored" not in text
    assert "went on" in text
