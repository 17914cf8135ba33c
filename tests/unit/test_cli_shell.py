"""`ftjob shell`: into which pod, with which environment, and what is said where nobody can enter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.api_fake import FakeServer, running_fake

from ftjob.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB = "/apis/ftjob.dev/v1alpha1/namespaces/team/frameworktrainingjobs/digits"
PODS = "/api/v1/namespaces/team/pods"
RUNS = {"containerStatuses": [{"name": "trainer", "state": {"running": {}}}]}
HOOKS = "/var/run/ftjob/ftjob-agent.pyz/ftjob_agent/hooks"

# Instead of `kubectl exec`: what would run in the pod runs here, on a folder that plays /proc.
KUBECTL = """\
import json, os, pathlib, sys
here = pathlib.Path({here!r})
words = sys.argv[1:]
(here / "exec.json").write_text(json.dumps(words))
program = words[words.index("-c") + 1].replace("/proc", str(here / "proc"))
rest = words[words.index("-c") + 2 :]
os.environ |= {{"FTJOB_AGENT_CONFIG": "secret", "FTJOB_TOKEN_FILE": "secret", "IMAGE": "7"}}
os.execv(sys.executable, [sys.executable, "-IS", "-c", program, *rest])
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """Four ranks in two pods, and a kubectl that runs commands on this machine."""
    (tmp_path / "bin").mkdir()
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text(f"#!{sys.executable}\n{KUBECTL.format(here=str(tmp_path))}")
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(kubectl.parent), prepend=":")
    process(tmp_path, 1, parent=0, session=1, began=1, FTJOB_AGENT_CONFIG="{}")
    with running_fake(tmp_path) as (fake, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        fake.objects[JOB] = {
            "apiVersion": "ftjob.dev/v1alpha1",
            "kind": "FrameworkTrainingJob",
            "metadata": {"name": "digits", "namespace": "team", "uid": "0f0e"},
            "spec": {
                "strategy": "Torchrun",
                "workers": 2,
                "processesPerWorker": 2,
                "template": {"spec": {"containers": [{"name": "trainer", "image": "team/train:3"}]}},
            },
            "status": {"phase": "Running", "podAttempt": 1},
        }
        fake.objects[PODS] = {"items": [pod(RUNS)]}
        yield fake


def pod(status: dict[str, Any], **meta: Any) -> dict[str, Any]:
    labels = {"ftjob.dev/role": "worker", "ftjob.dev/index": "1", "ftjob.dev/attempt": "1"}
    containers = [{"name": "proxy"}, {"name": "trainer"}]
    return {
        "metadata": {"name": "digits-worker-1-1", "uid": "a", "labels": labels, **meta},
        "spec": {"containers": containers},
        "status": status,
    }


def process(folder: Path, pid: int, *, parent: int, session: int, began: int, **env: str) -> None:
    own = folder / "proc" / str(pid)
    own.mkdir(parents=True)
    (own / "environ").write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in env.items()))
    fields = ["S", parent, pid, session, *[0] * 15, began, 0]
    (own / "stat").write_text(f"{pid} (a) b) {' '.join(map(str, fields))}\n")


def shell(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ftjob.cli.main", "shell", "digits", "-n", "team", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, input="")


def test_a_command_runs_beside_the_rank_with_its_environment(tmp_path: Path, server: FakeServer) -> None:
    told = {"FTJOB_RANK": "3", "PATH": "/usr/bin:/bin"}
    process(tmp_path, 30, parent=1, session=30, began=5, **told | {"FTJOB_RANK": "2", "WRONG": "rank"})
    process(tmp_path, 33, parent=1, session=1, began=2, **told, WRONG="helper of the agent")
    process(tmp_path, 34, parent=40, session=34, began=3, **told, WRONG="another shell")
    own = {"PYTHONPATH": f"{HOOKS}:/mine", "FTJOB_RANK_DIR": "/r/3", "TORCHELASTIC_ERROR_FILE": "/r/3/e"}
    process(tmp_path, 40, parent=1, session=40, began=6, **told, **own, TWO="a=b\nc")
    process(tmp_path, 41, parent=1, session=41, began=9, **told, WRONG="left behind by the rank")
    (tmp_path / "proc" / "50").mkdir()
    (tmp_path / "proc" / "40" / "cwd").symlink_to(tmp_path / "bin")
    assert shell("--rank", "3", "--", "pwd").stdout == f"{tmp_path / 'bin'}\n"
    done = shell("--rank", "3", "--context", "fake", "--", "env", "-0")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.rstrip("\0").split("\0")) == {
        "FTJOB_RANK=3",
        "PATH=/usr/bin:/bin",
        "PYTHONPATH=/mine",
        "FTJOB_RANK_DIR=/r/3",
        "TWO=a=b\nc",
    }
    words = json.loads((tmp_path / "exec.json").read_text())
    assert words[:6] == [
        "exec",
        "--stdin",
        "digits-worker-1-1",
        "--namespace=team",
        "--container=trainer",
        "--context=fake",
    ]
    assert words[6:9] == ["--", "python3", "-IS"]


def test_without_a_rank_the_containers_environment_is_there_and_a_line_says_so(server: FakeServer) -> None:
    done = shell("--", "sh", "-c", 'echo "$IMAGE $FTJOB_AGENT_CONFIG"; exit 7')
    assert (done.returncode, done.stdout) == (7, "7 \n")
    said = "ftjob: rank 0 does not run, or not as this user; this is its container's environment\n"
    assert done.stderr == said


def test_a_command_that_is_not_there_is_named(server: FakeServer) -> None:
    done = shell("--", "no-such-command", "--rank", "9")
    assert done.returncode == 127
    assert "ftjob: no-such-command can't be started in the pod: No such file or directory\n" in done.stderr


def test_without_a_command_a_shell_reads_what_is_typed(server: FakeServer) -> None:
    command = [sys.executable, "-m", "ftjob.cli.main", "shell", "digits", "-n", "team"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input="echo $IMAGE; exit 5\n")
    assert (done.returncode, done.stdout) == (5, "7\n")


LOST = {"deletionTimestamp": "2026-11-30T10:00:00Z"}
TAINTED = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
WAITS = {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}


@pytest.mark.parametrize(
    ("phase", "found", "said"),
    [
        ("Starting", [pod({"phase": "Pending"})], "does not run yet; `ftjob status digits` says why"),
        (
            "Starting",
            [pod({"containerStatuses": [{"name": "trainer", "state": WAITS}]})],
            "does not run yet (ImagePullBackOff: no such host); `ftjob status",
        ),
        ("Restarting", [], "rank 3 of digits has no pod, the job is Restarting; `ftjob status digits` says"),
        ("Suspended", [], "digits is Suspended and has no pods; `ftjob resume digits` lets it go on"),
        (
            "Running",
            [pod({"containerStatuses": [{"name": "trainer", "state": {"terminated": {"exitCode": 4}}}]})],
            "digits-worker-1-1 of rank 3 has ended with exit code 4; `ftjob status digits`",
        ),
        ("Running", [pod({**RUNS, "conditions": TAINTED}, **LOST)], "is on a node that does not answer"),
        ("Failed", [], "digits has failed, and its pods no longer run; `ftjob rerun digits`"),
    ],
)
def test_where_nobody_can_enter_the_remedy_is_told(
    server: FakeServer,
    capsys: pytest.CaptureFixture[str],
    phase: str,
    found: list[dict[str, Any]],
    said: str,
) -> None:
    server.objects[JOB]["status"]["phase"] = phase
    server.objects[PODS] = {"items": found}
    assert main(["shell", "digits", "-n", "team", "--rank", "3"]) == 3
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("rank", ["4", "-1"])
def test_a_rank_that_the_job_does_not_have(
    server: FakeServer, capsys: pytest.CaptureFixture[str], rank: str
) -> None:
    assert main(["shell", "digits", "-n", "team", f"--rank={rank}"]) == 2
    said = f"--rank {rank}: digits has no such rank; name one from 0 to 3\n"
    assert capsys.readouterr().err == said


def test_without_kubectl(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["shell", "digits", "-n", "team"]) == 3
    assert "and kubectl can't be started (No such file or directory): install it" in capsys.readouterr().err


def test_a_command_stands_behind_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["shell", "digits", "ls"])
    assert error.value.code == 2
    assert "unrecognized arguments: ls" in capsys.readouterr().err
