"""Known ways to die, provoked for real: each is named by its row of the catalogue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job, run
from support.programs import dies
from support.programs.dies import DEATHS

from ftjob.deaths.catalogue import ROWS
from ftjob.deaths.explain import explain
from ftjob.plan.life.first_failure import reason_of
from ftjob_agent.ranks.diagnosis import of_rank

if TYPE_CHECKING:
    from pathlib import Path

    from ftjob.deaths.row import Row
    from ftjob_protocol.failures import Failure

BY_NAME = {row.name: row for row in ROWS}


def hint_of(failure: Failure) -> str | None:
    code = failure.exit_code
    return explain(
        reason=reason_of(failure), exit_code=code, message=failure.message, log_tail=failure.log_tail
    )


def is_of(hint: str | None, row: Row) -> bool:
    """Whether a hint is that of a row, whatever its names and sizes are."""
    own = row.remedy.partition("[")[0].partition("{")[0]
    return hint is not None and own in hint and row.link in hint


@pytest.mark.parametrize("subject", DEATHS)
def test_each_of_these_deaths_is_known(subject: str) -> None:
    """What a rank's hook leaves on record goes the way of every failure: agent, operator, catalogue."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, dies.__file__, subject],
        capture_output=True,
        text=True,
        env=environment,
        timeout=280,
        check=False,
    )
    records: list[dict[str, Any]] = [
        json.loads(line[1:]) for line in done.stdout.splitlines() if line.startswith("@")
    ]
    assert [found["row"] for found in records] == [row for row, _ in DEATHS[subject]], done.stderr[-2000:]
    unknown = {}
    for found in records:
        failure = of_rank(0, code=1, ended_ns=0, tail="", record=found)
        hint = hint_of(failure)
        if not is_of(hint, BY_NAME[found["row"]]):
            unknown[found["row"]] = f"{found['type']}: {found['message'][:500]} -> {hint}"
    assert not unknown


SCRIPT = "printf 'echo 1\\n' >train.sh; "
SHELL = [
    ("command-not-found", "trian --epochs 3"),
    ("not-executable", SCRIPT + "./train.sh"),
    ("windows-line-ends", "printf 'true\\r\\n' >dos.sh; bash dos.sh"),
    ("wrong-architecture", "printf '\\177ELF\\1\\1\\1' >train; chmod +x train; ./train"),
    ("script-missing", "python3 /nowhere/train.py"),
    ("killed", "kill -KILL $$"),
    ("wrong-processor", "kill -ILL $$"),
]


@pytest.mark.parametrize(("row", "script"), SHELL, ids=[row for row, _ in SHELL])
def test_what_a_shell_or_a_signal_says_is_known(row: str, script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    failure = of_rank(0, code=done.returncode, ended_ns=0, tail=done.stderr, record=None)
    hint = hint_of(failure)
    assert is_of(hint, BY_NAME[row]), (done.returncode, done.stderr, hint)


def test_a_run_says_what_to_do_behind_the_original_words(tmp_path: Path) -> None:
    ran = run(plain_job("import apex_of_nowhere"), tmp_path)
    words = "ModuleNotFoundError: No module named 'apex_of_nowhere'"
    hint = "hint: The module apex_of_nowhere is not installed where the script runs."
    assert ran.stdout.index(words) < ran.stdout.index(hint)
    failure = ran.status["failure"]
    assert failure["message"].endswith(words)
    assert failure["hint"].startswith("The module apex_of_nowhere is not installed")
    timeline = ran.status["timeline"]
    assert "part" not in timeline
    assert "time:" in ran.stdout or sum(v for v in timeline.values() if isinstance(v, int)) == 0


def test_a_run_whose_script_has_a_bug_of_its_own_gives_no_hint(tmp_path: Path) -> None:
    ran = run(
        plain_job("import sys; print('memory is low, loss nan', file=sys.stderr); sys.exit(3)"), tmp_path
    )
    assert "hint" not in ran.status["failure"]
    assert "hint:" not in ran.stdout
