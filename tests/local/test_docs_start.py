"""docs/start.md, as written: its script and its job, on this machine, and what it shows of them."""

from __future__ import annotations

import re
from pathlib import Path
from socket import gethostname

from support.local_run import run

PAGE = (Path(__file__).parents[2] / "docs" / "start.md").read_text(encoding="utf-8")


def block(language: str, name: str) -> str:
    """Return what the page says to save under a name."""
    found = re.search(
        rf"Save this as `{re.escape(name)}`.*?^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def test_the_first_job_runs_as_the_page_shows_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(block("python", "train.py"), encoding="utf-8")
    job = tmp_path / "first.yaml"
    job.write_text(block("yaml", "first.yaml"), encoding="utf-8")
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stderr
    told = (ran.stdout + ran.stderr).replace(str(tmp_path), "/home/me").replace(gethostname(), "laptop")
    shown = PAGE.partition("$ ftjob run first.yaml\n")[2].partition("```")[0].splitlines()
    varying = ("first:", "time:", "outputs:", "ftjob: Running")  # a job so short may end before it is seen
    steady = [line for line in shown if not line.startswith(varying)]
    assert len(steady) == 4
    assert [line for line in steady if line not in told.splitlines()] == []
    assert {file.name for file in ran.outputs.glob("result-*")} == {"result-0.txt", "result-1.txt"}
