"""Files that somebody else has written: one line of error, and nothing on the terminal but text."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import unicodedata
from pathlib import Path

import pytest

from ftjob.cli import source
from ftjob.cli.main import main
from ftjob.cli.source import BYTES_MAX
from ftjob.cli.terminal import coloured
from ftjob.cli.view import PlainView

HELLO = (Path(__file__).parents[2] / "manifests" / "samples" / "plain-hello.yaml").read_text()
LEVELS = 10_000
DIGITS = "9" * 6000
BOMB = "a: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))


def labelled(text: str) -> str:
    return HELLO.replace("metadata:", f"metadata:\n  labels: {text}", 1)


def with_gpus(amount: str) -> str:
    return HELLO.replace("requests:", f"limits: {{nvidia.com/gpu: {amount}}}\n            requests:")


FILES = {
    "deep lists": ("[" * LEVELS, "write fewer values and levels"),
    "deep objects": ('{"a":' * LEVELS, "write fewer values and levels"),
    "whole deep JSON": ('{"a":' * LEVELS + "1" + "}" * LEVELS, "write fewer values and levels"),
    "deep blocks": ("".join(f"{' ' * level}a:\n" for level in range(1500)), "write fewer values and levels"),
    "deep keys": ("? " * LEVELS + "a", "write fewer values and levels"),
    "deep items": ("- " * LEVELS + "a", "write fewer values and levels"),
    "a deep label": (labelled("{a: " + "[" * LEVELS + "]" * LEVELS + "}"), "write fewer values and levels"),
    "many documents": ("--- a\n" * 5000, "not an object"),
    "many empty documents": ("---\n" * 5000, "use several files"),
    "aliases": (BOMB, "write fewer aliases"),
    "merged aliases": (MERGES, "write fewer aliases"),
    "an alias of itself": ("a: &x [*x]\n", "write it out"),
    "a long number": (HELLO.replace("workers: 2", f"workers: {DIGITS}"), "write a shorter one"),
    "a long hexadecimal number": (HELLO.replace("workers: 2", f"workers: 0x{DIGITS}"), "write a shorter one"),
    "a long fraction": (HELLO.replace("workers: 2", f"workers: 0.{DIGITS}"), "write a shorter one"),
    "a long number for a name": (HELLO.replace("name: hello", f"name: {DIGITS}"), "write a shorter one"),
    "a long number of GPUs": (with_gpus(DIGITS), "write a shorter one"),
    "NUL": (f"{HELLO}\0", "U+0000; remove it"),
    "an escape": (f"{HELLO}\x1b[2J", "U+001B; remove it"),
    "too large": ("#" * (BYTES_MAX + 1), "split it"),
    "an unknown tag": ("a: !\x85x 1", "not YAML"),
    "a kind with an escape": (HELLO.replace("kind: F", 'kind: "\\e[2J\\u202E\\nF'), "quotes"),
}


def check(folder: Path, raw: bytes, capsys: pytest.CaptureFixture[str], command: str, words: str) -> None:
    path = folder / "job.yaml"
    path.write_bytes(raw)
    assert main([command, str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith(f"{path}:")
    assert words in err
    assert len(err) < 2100
    assert is_text(err)


def is_text(text: str) -> bool:
    unseen = {letter for letter in text if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}} - {"\n"}
    return not unseen and not set(text) & set("\u061c\u200e\u200f\u202a\u202b\u202d\u202e\u2066\u2067\u2069")


@pytest.mark.parametrize(("text", "words"), FILES.values(), ids=FILES)
def test_a_hostile_file_is_one_line_of_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    check(tmp_path, text.encode(), capsys, "validate", words)


@pytest.mark.parametrize("command", ["run", "render"])
@pytest.mark.parametrize("kind", ["deep keys", "aliases", "a long number", "a kind with an escape"])
def test_every_command_reads_files_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, command: str
) -> None:
    text, words = FILES[kind]
    check(tmp_path, text.encode(), capsys, command, words)


def test_a_file_of_very_many_values_is_not_read_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "VALUES_MAX", 1000)
    check(tmp_path, b"- a\n" * 20_000, capsys, "validate", ":1001:")


@pytest.mark.parametrize("strategy", ["Torchrun", "Horovod"])
def test_more_gpus_than_python_can_count_are_a_problem_of_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    text = with_gpus(f'"{DIGITS}"').replace("strategy: Plain", f"strategy: {strategy}")
    (tmp_path / "job.yaml").write_text(text)
    assert main(["validate", str(tmp_path / "job.yaml")]) == 2
    assert "ask for at most 256 GPUs" in capsys.readouterr().err


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00", HELLO.encode() + b"\xc3", HELLO.encode("utf-16")])
def test_bytes_that_are_no_text_are_one_line_of_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], raw: bytes
) -> None:
    check(tmp_path, raw, capsys, "validate", "save it as UTF-8")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: hello", 'name: "\\e[31mred\\u202E\\nname"'),
        ("kind: F", '"ki\\e]0;nd\\an\\u2066d": x\nkind: F'),
        ("workers: 2", '"wor\\e[2J\\u202Ekers\\u2028": 2'),
        ("workers: 2", 'workers: "\\e[2J\\u202E\\0"'),
        ("strategy: Plain", 'strategy: "\\u202E\\ud83d"'),
        ("strategy: Plain", f"strategy: {'x' * 100_000}"),
        ("workers: 2", f"{'x' * 100_000}: 2"),
        ("workers: 2", f'workers: "{DIGITS}"'),
        ("workers: 2", "workers: 1e400"),
        ("workers: 2", "workers: .nan"),
        ("workers: 2", "workers: !!binary AAAA"),
        ("metadata:", 'metadata:\n  labels: {"\\e[2J": 1}'),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_what_is_said_of_a_hostile_name_is_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, command: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(HELLO.replace(old, new, 1))
    assert main([command, str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert is_text(err)
    assert all(len(line) <= 2000 for line in err.splitlines())


def test_the_name_of_a_file_is_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "\x1b[31m\u202ejob\n.yaml"
    path.write_text(HELLO)
    assert main(["validate", str(path), f"{path}-none", "a\0b"]) == 2
    out, err = capsys.readouterr()
    assert is_text(out + err)
    assert (out.count("\n"), err.count("\n")) == (1, 2)


def test_a_file_without_end_is_read_only_so_far(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "endless"
    os.mkfifo(path)

    def write() -> None:
        try:
            with path.open("wb") as stream:
                while True:
                    stream.write(b"#" * 65536)
        except BrokenPipeError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    assert main(["validate", str(path)]) == 2
    writer.join()
    assert "split it" in capsys.readouterr().err


def test_stdin_is_read_as_a_file_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for raw, words in ((b"\xff", "save it as UTF-8"), (b"#" * (BYTES_MAX + 1), "split it")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        assert main(["validate", "-"]) == 2
        assert words in capsys.readouterr().err


def test_a_job_with_a_thousand_mistakes_is_told_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(HELLO + "".join(f"odd{number}: 1\n" for number in range(10_000)))
    assert main(["validate", str(path)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 21
    assert err[-1] == "and 9980 more problems; correct these first"


def test_what_a_rank_writes_is_text_and_its_colours_stay_in_a_terminal() -> None:
    hostile = "\t\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b[2J\x1bc\u202eend\x00"
    stream = io.StringIO()
    PlainView(stream).line(0, hostile)
    PlainView(stream).note("a note \x1b[2J")
    assert stream.getvalue() == "[rank 0] \tred end\nftjob: a note \n"
    assert coloured(hostile) == "\t\x1b[31mred\x1b[0m end"


def test_a_template_of_many_odd_fields_is_no_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = {
        "apiVersion": "ftjob.dev/v1alpha1",
        "kind": "FrameworkTrainingJob",
        "metadata": {"name": "hello"},
        "spec": {f"w{number}": 1 for number in range(10_000)},
    }
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    assert main(["validate", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 21
