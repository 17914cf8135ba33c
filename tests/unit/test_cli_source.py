"""Jobs from YAML files: what is read, what is skipped, and what is said about the rest."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from ftjob.cli.source import Source, SourceError, read
from ftjob.models.names import KIND

if TYPE_CHECKING:
    from pathlib import Path

JOB = """\
apiVersion: ftjob.dev/v1alpha1
kind: FrameworkTrainingJob
metadata: {name: digits}
spec:
  strategy: Plain
  template:
    spec:
      containers:
        - name: trainer
          image: python:3
          command: [python3, train.py]
"""


BOMB = "a: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
"""Aliases of aliases: a few lines that stand for 2**40 values."""


def parse(folder: Path, text: str, namespace: str | None = None) -> Source:
    path = folder / "job.yaml"
    path.write_text(text)
    return read(str(path), namespace)


def complaints(folder: Path, text: str) -> list[str]:
    """What is said about the jobs of a file, without the file's name."""
    source = parse(folder, text)
    return [line.removeprefix(f"{folder}/job.yaml:") for found in source.jobs for line in found.complaints()]


def test_good_job_has_no_problems(tmp_path: Path) -> None:
    (found,) = parse(tmp_path, JOB).jobs
    assert (found.job.name, found.job.namespace, found.problems) == ("digits", "default", ())


def test_name_is_generated_as_an_api_server_does(tmp_path: Path) -> None:
    text = JOB.replace("{name: digits}", "{generateName: digits-}")
    names = {found.job.name for found in parse(tmp_path, f"{text}---\n{text}").jobs if not found.problems}
    assert len(names) == 2
    assert all(name.startswith("digits-") and len(name) == 12 for name in names)


def test_all_documents_are_read_and_other_kinds_skipped_with_a_note(tmp_path: Path) -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    source = parse(tmp_path, f"{other}---\n{JOB}---\n---\n{JOB.replace('digits', 'letters')}")
    assert [(found.job.name, found.line) for found in source.jobs] == [("digits", 5), ("letters", 18)]
    assert source.notes == (
        f"{tmp_path}/job.yaml:1: skipped, it is a ConfigMap and not a FrameworkTrainingJob",
    )


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(JOB.encode())))
    (found,) = read("-").jobs
    assert (found.file, found.job.name) == ("stdin", "digits")


def test_namespace_is_for_jobs_that_name_none(tmp_path: Path) -> None:
    (plain,) = parse(tmp_path, JOB, "team-a").jobs
    (named,) = parse(tmp_path, JOB.replace("{name: digits}", "{name: digits, namespace: own}"), "team-a").jobs
    assert (plain.job.namespace, named.job.namespace) == ("team-a", "own")


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("spec:\n\tstrategy: Plain\n", "2:1", "indent with spaces"),
        ("spec: {strategy: Plain\n", "2:1", "check indentation and quotes"),
        ("spec:\n  a: 1\n  b: 2\n  a: 3\n", "4:3", "a is there twice, first in line 2; remove one"),
        ("- 1\n", "1", "begin with `apiVersion: ftjob.dev/v1alpha1`"),
        ("a: &x [*x]\n", "1", "has no end; write it out"),
        (BOMB, "1", "write fewer aliases"),
        ("a: !!python/object:os.system {}\n", "1:4", "could not determine a constructor"),
        ("? [a]\n: 1\n", "1:3", "quote it"),
        ("a: \x07\n", "", "not YAML"),
    ],
)
def test_yaml_errors_name_the_line_and_the_remedy(tmp_path: Path, text: str, where: str, words: str) -> None:
    with pytest.raises(SourceError) as error:
        parse(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/job.yaml:{where}")
    assert words in str(error.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.yaml: No such file or directory; give the path of a file"):
        read(str(tmp_path / "none.yaml"))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="save it as UTF-8"):
        read(str(tmp_path / "job.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "v1alpha1",
            "v1",
            "1: apiVersion: 'ftjob.dev/v1' is not served by ftjob; write apiVersion: ftjob.dev/",
        ),
        (f"{KIND}", "TrainingJob", f"2: kind: 'TrainingJob' is not a kind of ftjob.dev; write kind: {KIND}"),
        (f"kind: {KIND}\n", "", f"1: kind: it is missing; write kind: {KIND}"),
        (
            "{name: digits}",
            "[digits]",
            "3: metadata: it is missing or no object; write metadata: {name: my-job}",
        ),
        ("{name: digits}", "{labels: {a: 1}}", "3: metadata.labels: its values are not texts; quote numbers"),
        ("spec:\n  st", "specs:\n  st", "4: specs: a job has no such field; remove specs, or indent it"),
    ],
)
def test_what_stands_around_spec_is_checked(tmp_path: Path, old: str, new: str, expected: str) -> None:
    said = complaints(tmp_path, JOB.replace(old, new, 1))
    assert [line for line in said if line.startswith(expected)], said


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("Plain", "Plane", 5, "spec.strategy"),
        ("  strategy: Plain\n", "  strategy: Plain\n  workers: 0\n", 6, "spec.workers"),
        ("  strategy: Plain\n", "  strategy: Plain\n  worker: 2\n", 6, "spec.worker"),
        (
            "  strategy: Plain\n",
            "  strategy: Plain\n  watchdog:\n    hangSeconds: 0\n",
            7,
            "spec.watchdog.hangSeconds",
        ),
        ("name: digits", "name: 9digits", 3, "metadata.name"),
    ],
)
def test_problems_name_the_line_of_the_field(
    tmp_path: Path, old: str, new: str, line: int, field: str
) -> None:
    said = complaints(tmp_path, JOB.replace(old, new, 1))
    assert [text for text in said if text.startswith(f"{line}: {field}:")], said


def test_texts_stay_texts_and_numbers_numbers_as_kubectl_reads_them(tmp_path: Path) -> None:
    text = JOB + "          args: [2024-01-01, 12:30, 1e3, 1.5, 017, 0x10, ~, yes, '1', -3]\n"
    (found,) = parse(tmp_path, text).jobs
    args = found.body["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["2024-01-01", "12:30", 1000.0, 1.5, 15, 16, None, True, "1", -3]


def test_keys_are_texts(tmp_path: Path) -> None:
    (found,) = parse(tmp_path, JOB.replace("{name: digits}", "{name: digits, labels: {on: a, 1: b}}")).jobs
    assert found.job.labels == {"on": "a", "1": "b"}


def test_what_the_api_server_wrote_is_not_read_back(tmp_path: Path) -> None:
    meta = "{name: digits, uid: old, generation: many, resourceVersion: '5', creationTimestamp: then}"
    (found,) = parse(tmp_path, JOB.replace("{name: digits}", meta)).jobs
    assert found.body["metadata"] == {"name": "digits"}
