"""`ftjob run` of jobs that hang: who is named, and what the restart rules make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import json, os, sys, time
rank, attempt = os.environ["FTJOB_RANK"], os.environ["FTJOB_ATTEMPT"]
os.makedirs(os.environ["FTJOB_CHECKPOINT_DIR"], exist_ok=True)
open(os.path.join(os.environ["FTJOB_CHECKPOINT_DIR"], f"of-attempt-{attempt}"), "w").close()

def load(step):
    if (rank, step, attempt) in (("2", 3, "0"), ("2", 3, HANGS_AGAIN)):
        time.sleep(3600)

def barrier(step):
    while step == 3 and attempt in ("0", HANGS_AGAIN):
        time.sleep(0.05)

for step in range(1, 5):
    load(step)
    with open(os.environ["FTJOB_PROGRESS_FILE"], "a") as file:
        file.write(json.dumps({"step": step}) + "\\n")
    print("step", step, flush=True)
    barrier(step)
"""


def hanging(folder: Path, *, again: bool, **spec: Any) -> dict[str, Any]:
    script = folder / "train.py"
    script.write_text(SCRIPT.replace("HANGS_AGAIN", repr("1" if again else "none")))
    job = plain_job("", workers=2, processes=2, command=["python3", str(script)], args=[])
    job["spec"] |= {"watchdog": {"hangSeconds": 2}, **spec}
    return job


def test_a_hanging_job_fails_and_names_the_rank(tmp_path: Path) -> None:
    ran = run(hanging(tmp_path, again=False), tmp_path)
    assert ran.code == 1, ran.stdout + ran.stderr
    failure = ran.status["failure"]
    assert (failure["reason"], failure["rank"], failure["pod"]) == ("Hang", 2, "job-worker-0-1")
    assert "exitCode" not in failure
    last = failure["message"].splitlines()[-1]
    assert "rank 2 is at load (" in last
    assert "while ranks 0-1, 3 wait at barrier (" in last
    assert failure["logTail"] == "step 1\nstep 2"
    [failed] = [c for c in ran.status["conditions"] if c["type"] == "Failed"]
    assert failed["reason"] == "Hang"
    assert "rank 2 (pod job-worker-0-1" in failed["message"]
    assert "rank 2 in job-worker-0-1 failed: Hang\n" in ran.stdout
    assert "  | step 2\n" in ran.stdout
    folder = ran.outputs / "captures" / "hang-0" / "raw"
    assert sorted(path.name for path in folder.glob("*/stacks.txt")) == ["stacks.txt"] * 4
    assert "in load" in (folder / "rank-00002" / "stacks.txt").read_text()


def test_a_hang_in_the_first_attempt_alone_is_restarted_from_the_same_checkpoints(tmp_path: Path) -> None:
    restart = {"limit": 1, "backoffSeconds": 0}
    ran = run(hanging(tmp_path, again=False, restart=restart), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.status["restarts"]["failures"] == 1
    assert (ran.status["attempt"], ran.status["podAttempt"]) == (1, 0)
    assert ran.log(2) == "step 1\nstep 2\nftjob: attempt 1\nstep 1\nstep 2\nstep 3\nstep 4\n"
    left = sorted(path.name for path in (ran.outputs / "checkpoints").iterdir())
    assert left == ["of-attempt-0", "of-attempt-1"]


def test_a_hang_in_every_attempt_spends_the_limit(tmp_path: Path) -> None:
    restart = {"limit": 1, "backoffSeconds": 0}
    ran = run(hanging(tmp_path, again=True, restart=restart), tmp_path)
    assert ran.code == 1
    assert (ran.status["failure"]["reason"], ran.status["restarts"]["failures"]) == ("Hang", 1)
    assert sorted(path.name for path in (ran.outputs / "captures").iterdir()) == ["hang-0", "hang-1"]


def test_a_rule_can_end_the_job_at_its_first_hang(tmp_path: Path) -> None:
    restart = {"limit": 9, "rules": [{"onReason": "Hang", "action": "Fail"}]}
    ran = run(hanging(tmp_path, again=False, restart=restart), tmp_path)
    assert ran.code == 1
    assert ran.status["restarts"]["failures"] == 0


def test_a_program_without_any_steps_runs_on_and_ftjob_says_that_nothing_is_watched(tmp_path: Path) -> None:
    job = plain_job("import time; time.sleep(5)")
    job["spec"]["watchdog"] = {"hangSeconds": 1}
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert "ftjob: the watchdog has no steps to watch" in ran.stdout
