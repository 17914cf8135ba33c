"""The agent's way into a pod: when its ConfigMap is made, and what the container's command accepts."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.builders import CONFIG, NOW, created, decide, job, observed, pod

from ftjob.control.cache.shared import HOLDS_SECONDS, Shared
from ftjob.models.brought import NAME, AgentFile
from ftjob.plan.build.bring_agent import config_map_name, start_agent
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.plan.life.first_failure import first_failure
from ftjob.plan.observed.pod import Terminated
from ftjob_protocol.agent_config import parse
from ftjob_protocol.code import Code

if TYPE_CHECKING:
    from pathlib import Path

MADE = ("ConfigMap", config_map_name(CONFIG.agent))
SERVICE = ("Service", "digits")
OLD_WORDS = 'exec: "python3": executable file not found in $PATH: unknown'


def an_agent(says: str) -> AgentFile:
    """Return an agent that prints what it is told, and what it is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ftjob_agent/__init__.py", "")
        archive.writestr(
            "ftjob_agent/main.py", f"import sys\ndef main(): print({says!r}, *sys.argv[1:], __file__)\n"
        )
    return AgentFile(file.getvalue())


def start(agent: AgentFile, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run what a container runs, with a folder in the place of ``/ftjob``."""
    (folder / "run").mkdir(exist_ok=True)
    _, *words = [word.replace("/ftjob/", f"{folder}/") for word in start_agent(agent)]
    return subprocess.run(
        [sys.executable, *words, "train", "--fast"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | env,
    )


def why_it_failed(exit_code: int, log_tail: str) -> str:
    """Return what the status says of a pod that ended without a word of an agent."""
    end = Terminated(exit_code, "Error", None, NOW, log_tail)
    found = first_failure([replace(pod(0).placed().state, terminated=end)])
    assert found is not None
    return found.failure.message


def mounted(content: bytes, folder: Path) -> Path:
    """Mount what a ConfigMap holds."""
    file = folder / "agent" / NAME
    file.parent.mkdir()
    file.write_bytes(content)
    return file


def test_the_agent_gets_the_trainers_command_and_runs_from_a_copy_that_nobody_can_replace(
    tmp_path: Path,
) -> None:
    agent = an_agent("hello")
    mounted(agent.content, tmp_path)
    done = start(agent, tmp_path)
    assert done.stdout.split() == [
        "hello",
        "--",
        "train",
        "--fast",
        f"{tmp_path}/run/{NAME}/ftjob_agent/main.py",
    ]
    assert (tmp_path / "run" / NAME).read_bytes() == agent.content


def test_another_agent_than_the_operators_does_not_run(tmp_path: Path) -> None:
    mounted(an_agent("evil").content, tmp_path)
    wanted = an_agent("hello")
    done = start(wanted, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ftjob: ConfigMap {config_map_name(wanted)} holds another agent than the")


def test_nothing_on_pythonpath_shadows_what_the_agent_needs(tmp_path: Path) -> None:
    agent = an_agent("hello")
    mounted(agent.content, tmp_path)
    for name in ("hashlib", "sitecustomize", "zipfile", "ftjob_agent"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    assert start(agent, tmp_path, PYTHONPATH=str(tmp_path)).stdout.startswith("hello")


def test_an_old_python_is_named_before_anything_else_is_read(tmp_path: Path) -> None:
    code = start_agent(an_agent("hello"))[3]
    ast.parse(code, feature_version=(3, 4))
    newer = code.replace("(3,9)", "(9,9)")
    done = subprocess.run([sys.executable, "-IS", "-c", newer], capture_output=True, text=True, check=False)
    version = sys.version.split()[0]
    assert done.returncode == 1
    assert done.stderr.startswith(f"ftjob: python3 of the image is {version}, and ftjob needs 3.9")


@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        (1, "ftjob: python3 of the image is 3.8.18", "python3 of the image is 3.8.18"),
        (128, f"failed to create containerd task: {OLD_WORDS}", "the image has no python3 on its PATH"),
        (127, OLD_WORDS, "the image has no python3 on its PATH"),
    ],
)
def test_why_no_agent_started_is_in_the_status(code: int, said: str, why: str) -> None:
    assert why in why_it_failed(code, said)


def test_what_a_rank_says_last_is_no_reason_why_no_agent_started() -> None:
    assert why_it_failed(137, "python3: not found").endswith("ended with exit code 137 (Error)")


def test_the_config_map_comes_before_all_that_mounts_it() -> None:
    plan = decide(job().workers(2), observed(existing=frozenset()))
    assert plan.changes.create[0].kind == "ConfigMap"
    assert created(plan, "ConfigMap") == [MADE[1]]


def test_one_that_was_there_a_moment_ago_is_not_made_again() -> None:
    plan = decide(job().workers(2), observed(existing=frozenset({SERVICE, MADE})))
    assert not created(plan, "ConfigMap")
    assert len(created(plan)) == 2


def test_one_that_was_deleted_is_made_again_for_pods_that_wait_for_it() -> None:
    waiting = decide(job().workers(2).started(), observed(pod(0).placed(), pod(1).placed()))
    assert created(waiting, "ConfigMap") == [MADE[1]]
    assert waiting.next_look is not None
    running = decide(job().workers(2).running(), observed(pod(0).running(), pod(1).running()))
    assert not running.changes.create


def test_what_all_jobs_of_a_namespace_share_is_known_for_a_while() -> None:
    now = [NOW]
    shared = Shared(lambda: now[0])
    shared.note("team-a", *MADE)
    assert shared.of("team-a") == {MADE}
    assert not shared.of("team-b")
    now[0] += HOLDS_SECONDS
    assert not shared.of("team-a")


def test_the_users_code_comes_in_the_agents_volume_and_by_its_digest() -> None:
    told_code = {"configMap": "digits-code-0a1b2c3d", "sha256": "0a" * 32}
    wanted = job().with_spec(code=told_code).build()
    layout = cluster_layout(wanted, 0)
    built = build_pod(wanted, layout, layout.leader, CONFIG)
    [agent] = [volume for volume in built["spec"]["volumes"] if volume["name"] == "ftjob-agent"]
    archive = {"key": "code.tar.gz", "path": "code.tar.gz"}
    assert agent["projected"]["sources"][2:] == [
        {"configMap": {"name": "digits-code-0a1b2c3d", "items": [archive]}}
    ]
    [trainer] = built["spec"]["containers"]
    [told] = [each["value"] for each in trainer["env"] if each["name"] == "FTJOB_AGENT_CONFIG"]
    assert json.loads(told)["code"] == {"file": "/ftjob/agent/code.tar.gz", "sha256": "0a" * 32}
    assert parse(told).code == Code("/ftjob/agent/code.tar.gz", "0a" * 32)
    assert "initContainers" not in built["spec"]


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ({"configMap": "Digits", "sha256": "0a" * 32}, "spec.code.configMap"),
        ({"configMap": "digits", "sha256": "0A" * 32}, "spec.code.sha256"),
        ({"configMap": "digits", "sha256": "0a"}, "spec.code.sha256"),
        ({"configMap": "digits"}, "spec.code.sha256"),
        ({"sha256": "0a" * 32}, "spec.code.configMap"),
    ],
)
def test_code_is_named_by_a_config_map_and_a_digest(code: dict[str, str], field: str) -> None:
    assert [problem.field for problem in job().with_spec(code=code).read().problems] == [field]
