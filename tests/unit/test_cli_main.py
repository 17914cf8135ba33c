"""The commands that need no ranks, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ftjob import __version__
from ftjob.agent_zipapp import build_zipapp
from ftjob.api.crd import render_crd
from ftjob.cli.main import main
from ftjob.models.brought import AgentFile
from ftjob.plan.build.bring_agent import config_map_name

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))
HELLO = Path(__file__).parents[2] / "manifests" / "samples" / "plain-hello.yaml"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(sample)]) == 0
    assert "is valid" in capsys.readouterr().out


def test_validate_says_all_and_goes_on_to_the_next_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        HELLO.read_text().replace("strategy: Plain", "strategy: Plane").replace("workers: 2", "workers: -2")
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [\n")
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert main(["validate", str(bad), str(broken), str(empty), str(HELLO)]) == 2
    out, err = capsys.readouterr()
    assert "spec.strategy" in err
    assert "spec.workers" in err
    assert f"{broken}:2:1: not YAML" in err
    assert f"{empty}: no FrameworkTrainingJob in it" in err
    assert f"{HELLO}:4: FrameworkTrainingJob hello is valid" in out


def test_render_prints_what_the_operator_would_create(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(HELLO), "--namespace", "team-a"]) == 0
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] != "Secret"] == [
        ("ConfigMap", config_map_name(AgentFile(build_zipapp()))),
        ("Service", "hello"),
        ("Pod", "hello-worker-0-0"),
        ("Pod", "hello-worker-0-1"),
    ]
    assert {o["metadata"]["namespace"] for o in objects} == {"team-a"}


def test_render_shows_no_token_and_makes_a_claim_where_the_operator_would(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sample = HELLO.with_name("horovod-digits.yaml")
    assert main(["render", str(sample)]) == 0
    objects = {o["kind"]: o for o in yaml.safe_load_all(capsys.readouterr().out)}
    assert objects["Secret"]["stringData"] == {"token": "<made by the operator>"}
    assert objects["PersistentVolumeClaim"]["spec"]["resources"]["requests"]["storage"] == "1Gi"


@pytest.mark.parametrize("command", ["render", "run"])
def test_invalid_job_is_refused_with_all_problems(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(HELLO.read_text().replace("Plain", "Plane").replace("workers: 2", "workers: -2"))
    assert main([command, str(bad)]) == 2
    err = capsys.readouterr().err
    assert "spec.strategy" in err
    assert "spec.workers" in err


def test_run_wants_exactly_one_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = tmp_path / "two.yaml"
    two.write_text(HELLO.read_text() + "---\n" + HELLO.read_text().replace("name: hello", "name: bye"))
    assert main(["run", str(two)]) == 2
    assert "(hello, bye); give a file with one job" in capsys.readouterr().err


def test_run_wants_an_interpreter_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["run", str(HELLO), "--outputs", str(tmp_path / "out"), "--python", "no-such-python"])
    assert code == 2
    assert "--python: no-such-python is not a program" in capsys.readouterr().err


def test_crd(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crd"]) == 0
    assert capsys.readouterr().out == render_crd()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"ftjob {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["no-such-command"], ["run"], ["run", "x", "--timeout", "-1"], ["validate"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage: ftjob" in capsys.readouterr().err


def test_help_imports_nothing_that_is_slow() -> None:
    script = (
        "import sys\nfrom ftjob.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'pydantic', 'yaml', 'rich', 'http'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m ftjob.cli.main crd | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "apiVersion: apiextensions.k8s.io/v1\n"
    assert done.stderr == ""
