"""TAB: in a real bash, and by the protocol that kubectl speaks with its plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.completion import install, tabs

from ftjob.cli.main import build_parser, main, plugin

# Instead of kubectl: two jobs, and which cluster was meant.
KUBECTL = """\
#!/bin/sh
echo "$@" >>"{here}/asked"
if [ -e "{here}/hangs" ]; then sleep 60 & echo $! >"{here}/child"; wait; fi
printf 'ada-digits   Plain   Running\\nada-lm       Plain   Failed\\n'
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the programs and a kubectl on PATH."""
    (tmp_path / "bin").mkdir()
    install(tmp_path / "bin")
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text(KUBECTL.format(here=tmp_path))
    kubectl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plugin_tab(*words: str) -> list[str]:
    done = subprocess.run(["kubectl_complete-ftj", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_verbs_options_choices_and_jobs(here: Path) -> None:
    (here / "jobs").mkdir()
    (here / "job.yaml").touch()
    asked = {
        "ftjob st": ["status", "stop"],
        "ftjob list --al": ["--all", "--all-namespaces"],
        "ftjob wait --for ": ["Finished", "Running"],
        "ftjob wait -n team --context c ": ["ada-digits", "ada-lm"],
        "ftjob delete ada-lm ada-": ["ada-digits"],
        "ftjob validate jo": ["job.yaml", "jobs/"],
        "ftjob report --capture ": [],
        "ftjob report jo": ["jobs/"],
    }
    assert tabs(*asked) == asked
    first = (here / "asked").read_text().splitlines()[0]
    assert first.startswith("get frameworktrainingjobs.ftjob.dev --no-headers")
    assert first.endswith(" --namespace=team --context=c")


def test_kubectl_is_told_candidates_their_help_and_what_to_do(here: Path) -> None:
    (here / "a b").mkdir()
    assert plugin_tab("wait", "--kubeconfig", "f", "") == ["ada-digits", "ada-lm", ":4"]
    assert (here / "asked").read_text().endswith(" --kubeconfig=f\n")
    assert plugin_tab("li") == ["list\tshow jobs that run, wait or have ended lately", ":4"]
    assert plugin_tab("list", "--output=y") == ["yaml", ":4"]
    assert plugin_tab("validate", "a ") == ["a b/", ":6"]
    assert plugin_tab("wait", "", "") == [":4"]


def test_a_cluster_that_does_not_answer_gives_nothing_and_leaves_nothing_behind(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATIENCE", "2")
    (here / "hangs").touch()
    assert plugin_tab("wait", "") == [":4"]
    left = Path("/proc") / (here / "child").read_text().strip() / "stat"
    assert not left.exists() or left.read_text().rpartition(") ")[2].startswith("Z")


def test_without_kubectl_no_job_is_known(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = str(here / "bin" / "kubectl_complete-ftj")
    done = subprocess.run(
        [command, "wait", ""],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": str(here)},
    )
    assert (done.stdout, done.stderr) == (":4\n", "")


def test_nothing_of_the_client_is_imported() -> None:
    script = (
        "import sys, ftjob.cli.main, ftjob.cli.completion.plugin\n"
        "print(sorted({'pydantic', 'yaml', 'rich', 'kubernetes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("shell", "said"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "commandline")]
)
def test_each_shell_has_its_script(shell: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert said in capsys.readouterr().out


def test_the_plugin_calls_itself_what_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl-ftj", "wait", "--no-such-option"])
    with pytest.raises(SystemExit) as error:
        plugin()
    assert error.value.code == 2
    assert "kubectl ftj: error: unrecognized arguments" in capsys.readouterr().err
    assert build_parser().prog == "ftjob"
