"""The programs that docs/ shows, as written, with the job beside each, on two workers of this machine.

CI runs that of own scripts, which has a checkpoint; `make test-programs` runs those of all frameworks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from support.local_run import run

ROOT = Path(__file__).parents[2]
WHOLE = bool(os.environ.get("FTJOB_WHOLE_MATRIX"))
PAGES = ["own-script.md"]
if WHOLE:
    PAGES += ["frameworks/tensorflow.md", "frameworks/horovod.md", "frameworks/jax.md"]


def first(language: str, page: str) -> str:
    """Return the first block of a language on a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("page", PAGES)
def test_the_program_of_a_page_runs_with_its_job(page: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(first("python", page), encoding="utf-8")
    job = yaml.safe_load(first("yaml", page))
    trainer = job["spec"]["template"]["spec"]["containers"][0]
    trainer["resources"] = {}  # one rank a worker, with GPUs or without
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout[-4000:] + ran.stderr
    assert "loss" in ran.log(0)
    if page == "own-script.md":
        assert ran.status["progress"]["step"] == ran.status["progress"]["totalSteps"] == 200
        assert (ran.outputs / "checkpoints" / "last.pt").exists()
