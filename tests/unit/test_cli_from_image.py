"""A job without a YAML file: what `ftjob submit --image` makes of its options."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ftjob.cli.jobs.from_image import Options, build, script_of
from ftjob.cli.main import main
from ftjob.client import JobInvalid
from ftjob.client.client import user

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = ("python", "train.py", "--lr", "0.1")


def spec_of(**said: Any) -> dict[str, Any]:
    found: dict[str, Any] = build(Options("train:1", COMMAND, **said))["spec"]
    return found


def test_one_rank_needs_an_image_and_a_command() -> None:
    trainer = {"name": "trainer", "image": "train:1", "command": list(COMMAND)}
    assert build(Options("train:1", COMMAND)) == {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {},
        "spec": {"strategy": "Plain", "workers": 1, "template": {"spec": {"containers": [trainer]}}},
    }


def test_each_option_has_its_place_in_the_job() -> None:
    found = build(
        Options(
            "train:1",
            COMMAND,
            strategy="Torchrun",
            workers=4,
            processes=2,
            gpus=2,
            cpu="8",
            memory="32Gi",
            env=("LR=0.1", "NAME=a=b", "EMPTY="),
            queue="team-a",
            claim="results",
            name="digits",
        )
    )
    assert found["metadata"] == {"name": "digits", "labels": {"kueue.x-k8s.io/queue-name": "team-a"}}
    spec = found["spec"]
    assert (spec["strategy"], spec["workers"], spec["processesPerWorker"]) == ("Torchrun", 4, 2)
    assert spec["outputs"] == {"claimName": "results"}
    [trainer] = spec["template"]["spec"]["containers"]
    amounts = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    assert trainer["resources"] == {"requests": amounts, "limits": amounts}
    assert trainer["env"] == [
        {"name": "LR", "value": "0.1"},
        {"name": "NAME", "value": "a=b"},
        {"name": "EMPTY", "value": ""},
    ]


@pytest.mark.parametrize("several", [{"workers": 2}, {"processes": 2}, {"gpus": 2}])
def test_how_several_ranks_work_together_is_not_guessed(several: dict[str, int]) -> None:
    [(name, count)] = several.items()
    with pytest.raises(JobInvalid, match=f"--{name} {count} needs --strategy.*Torchrun"):
        spec_of(**several)
    assert spec_of(**several, strategy="Horovod")["strategy"] == "Horovod"
    assert spec_of(**dict.fromkeys(several, 1))["strategy"] == "Plain"


@pytest.mark.parametrize("text", ["LR", "=0.1", ""])
def test_a_variable_has_a_name_and_a_value(text: str) -> None:
    with pytest.raises(JobInvalid, match=r"--env LR=0\.1"):
        spec_of(env=(text,))


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python train.py --lr 1", "train.py"),
        ("python -m pkg.train", "pkg.train"),
        ("sh -c 'cd x && python3 train.py'", "train.py"),
        ("./run.sh", "run.sh"),
        ("python -c print()", "python"),
    ],
)
def test_the_name_comes_from_the_script(command: str, script: str) -> None:
    assert script_of(tuple(shlex.split(command))) == script


def submitted(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["submit", "--dry-run", *words]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def test_all_behind_the_dashes_is_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["python", "train.py", "--image", "x", "-n", "--", "--help"]
    [job] = submitted(
        capsys, "-n", "team", "--image", "train:1", "--set", "spec.restart.limit=3", "--", *command
    )
    [trainer] = job["spec"]["template"]["spec"]["containers"]
    assert trainer["command"] == command
    assert job["spec"]["restart"] == {"limit": 3}
    assert job["metadata"]["namespace"] == "team"
    assert re.fullmatch(rf"{user()}-train-[0-9a-f]{{4}}", job["metadata"]["name"])


def test_code_comes_with_a_config_map_of_its_digest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text("print(1)")
    words = ["--code", str(tmp_path), "--name", "digits"]
    brought, job = submitted(capsys, *words, "--image", "train:1", "--", *COMMAND)
    code = job["spec"]["code"]
    assert brought["metadata"]["name"] == code["configMap"] == f"digits-code-{code['sha256'][:8]}"
    assert brought["immutable"] is True
    file = tmp_path / "job.yaml"
    del job["spec"]["code"], job["metadata"]
    file.write_text(yaml.safe_dump(job | {"metadata": {"name": "other"}}))
    (tmp_path / ".ftjobignore").write_text("job.yaml\n.ftjobignore\n")
    brought, job = submitted(capsys, *words, str(file))
    assert (job["metadata"]["name"], job["spec"]["code"]) == ("digits", code)


def test_a_file_without_a_name_gets_one_and_any_file_another(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "fine_tune.yaml"
    body = build(Options("train:1", COMMAND))
    file.write_text(yaml.safe_dump(body))
    [job] = submitted(capsys, str(file))
    assert re.fullmatch(rf"{user()}-fine-tune-[0-9a-f]{{4}}", job["metadata"]["name"])
    body["metadata"]["name"] = "digits"
    file.write_text(yaml.safe_dump(body))
    assert [job["metadata"]["name"] for job in submitted(capsys, str(file))] == ["digits"]
    assert [job["metadata"]["name"] for job in submitted(capsys, str(file), "--name", "x")] == ["x"]
    body["spec"]["workers"] = 0
    file.write_text(yaml.safe_dump(body | {"metadata": {}}))
    assert main(["submit", "--dry-run", str(file)]) == 2
    assert re.search(r"fine_tune.yaml:\d+: spec.workers: 0 is not allowed", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give one FILE with a job, or --image IMAGE -- COMMAND"),
        (["a.yaml", "b.yaml"], "give one FILE"),
        (["--image", "train:1"], "say what the ranks run, behind --"),
        (["a.yaml", "--gpus", "2"], "--gpus goes with --image; change a field of a file by --set"),
        (["--image", "train:1", "--strategy", "Torch", "--", "true"], "write one of Horovod"),
        (["--image", "train:1", "--name", "Digits", "--", "true"], "metadata.name"),
        (["--image", "train:1", "--code", "/nosuch", "--", "true"], "--code /nosuch: it is no folder"),
    ],
)
def test_what_can_not_be_is_refused_with_what_to_write(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["submit", "--dry-run", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_help_says_both_ways(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["submit", "--help"])
    assert "ftjob submit --image IMAGE [OPTION...] -- COMMAND" in capsys.readouterr().out
