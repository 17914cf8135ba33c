"""`ftjob run --code DIR`: ranks run in a copy of the folder as it was when they were started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.local_run import plain_job, read_until, run, start

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """\
import os, time
import part
print("part", part.NUMBER, "in", os.path.basename(os.getcwd()), flush=True)
while not os.path.exists(os.environ.get("GO", ".")):
    time.sleep(0.02)
print("later", open("part.py").read().strip(), open(part.__file__).read().strip())
open("written", "x").close()
"""


def job(**env: str) -> dict[str, Any]:
    said = [{"name": name, "value": value} for name, value in env.items()]
    return plain_job("", command=["python3", "train.py"], args=[], workers=2, env=said)


def code(folder: Path, number: int) -> Path:
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "train.py").write_text(SCRIPT)
    (folder / "code" / "part.py").write_text(f"NUMBER = {number}")
    return folder / "code"


def test_an_edited_line_runs_in_the_next_run_and_not_in_this_one(tmp_path: Path) -> None:
    words = ["--code", str(code(tmp_path, 1))]
    with start(job(GO=str(tmp_path / "go")), tmp_path, *words) as running:
        for _ in range(2):
            read_until(running, "part 1 in code")
        code(tmp_path, 2)
        (tmp_path / "go").touch()
        out, err = running.communicate()
    assert running.returncode == 0, err
    assert out.count("later NUMBER = 1 NUMBER = 1") == 2
    ran = run(job(), tmp_path, *words)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("part 2 in code") == 2
    assert {path.name for path in (tmp_path / "code").iterdir()} == {"train.py", "part.py"}
    brought = ran.job["spec"]["code"]
    assert brought["configMap"] == f"job-code-{brought['sha256'][:8]}"
    again = run(ran.outputs / "job.yaml", tmp_path)
    assert again.code == 2
    assert "is in the cluster, not on this machine; name the folder with the code: --code DIR" in again.stderr


def test_a_folder_that_can_not_be_packed_is_said_before_anything_runs(tmp_path: Path) -> None:
    ran = run(job(), tmp_path, "--code", "nosuch")
    assert ran.code == 2
    assert ran.stderr == "--code nosuch: it is no folder; name the one with your script\n"
    assert not ran.outputs.exists()
