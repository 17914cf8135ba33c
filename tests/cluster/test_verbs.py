"""A day with the verbs: an own script without an image, every rank's lines, and what becomes of its code."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from support.cluster import CONTEXT, Cluster, job

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, time
from words import SAID
print(SAID, os.environ["RANK"], "of", os.environ["WORLD_SIZE"], flush=True)
while not os.path.exists("/tmp/end"):
    time.sleep(0.2)
print("ends", flush=True)
"""


class Desk:
    """A folder with a script, and the command line."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder, self.cluster = folder, cluster
        (folder / "train.py").write_text(SCRIPT)
        body = job("first", ["python3", "train.py"], strategy="Torchrun", workers=2, processes=2)
        (folder / "job.yaml").write_text(yaml.safe_dump(body))
        self.say("one")

    def say(self, word: str) -> None:
        """Edit the script."""
        (self.folder / "words.py").write_text(f"SAID = {word!r}\n")

    def ftjob(self, *words: str, code: int = 0) -> str:
        """Run a verb, as somebody with a kubeconfig; return what it printed to stdout."""
        verb, *rest = words
        there = ["-n", self.cluster.namespace, "--context", CONTEXT]
        command = [sys.executable, "-m", "ftjob.cli.main", verb, *there, *rest]
        done = subprocess.run(
            command, cwd=self.folder, env=os.environ, capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def codes(self) -> set[str]:
        """Return the names of the ConfigMaps with code."""
        names = [each["metadata"]["name"] for each in self.cluster.items("configmaps")]
        return {name for name in names if "-code-" in name}

    def end(self, name: str) -> None:
        """Let a job end."""
        for rank in ("0", "2"):  # one in each pod
            self.ftjob("shell", name, "--rank", rank, "--", "touch", "/tmp/end")


@pytest.fixture(scope="module")
def desk(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"), cluster)


def test_an_own_script_runs_and_runs_again_as_it_was_edited(desk: Desk) -> None:
    assert desk.ftjob("submit", "job.yaml", "--code", ".", "--detach") == "first\n"
    desk.ftjob("wait", "first", "--for", "Running", "--timeout", "180")
    assert sorted(desk.ftjob("logs", "first", "--no-follow").splitlines()) == [
        f"[rank {rank}] one {rank} of 4" for rank in range(4)
    ]
    assert desk.ftjob("shell", "first", "--rank", "3", "--", "sh", "-c", "echo $RANK; pwd") == (
        "3\n/ftjob/run/code\n"
    )
    desk.ftjob("shell", "first", "--", "sh", "-c", "exit 7", code=7)
    assert "first" in desk.ftjob("list", "-o", "name")

    desk.say("two")
    assert desk.ftjob("submit", "job.yaml", "--code", ".", "--detach", "--name", "second") == "second\n"
    desk.ftjob("wait", "second", "--for", "Running", "--timeout", "180")
    desk.end("second")
    desk.ftjob("wait", "second", "--timeout", "120")
    said = desk.ftjob("logs", "second").splitlines()
    assert sorted(said) == sorted(
        [f"[rank {rank}] {text}" for rank in range(4) for text in (f"two {rank} of 4", "ends")]
    )


def test_a_stopped_job_goes_on_and_its_second_run_outlives_it_with_the_code(desk: Desk) -> None:
    desk.ftjob("stop", "first")
    desk.cluster.until("ftj", "first", "{.status.phase}=Suspended")
    desk.ftjob("resume", "first")
    desk.ftjob("wait", "first", "--for", "Running", "--timeout", "180")
    desk.end("first")
    desk.ftjob("wait", "first", "--timeout", "120")
    again = desk.ftjob("rerun", "first").strip()
    (code,) = (name for name in desk.codes() if name.startswith("first-code-"))
    desk.ftjob("delete", "first", "-y")
    desk.cluster.kubectl("wait", "--for=delete", "ftj/first", "--timeout=60s")
    desk.ftjob("wait", again, "--for", "Running", "--timeout", "180")
    assert code in desk.codes()
    assert "[rank 0] one 0 of 4" in desk.ftjob("logs", again, "--no-follow", "--ranks", "0")
    desk.ftjob("delete", again, "-y")
    desk.cluster.kubectl("wait", "--for=delete", f"configmap/{code}", "--timeout=120s")
