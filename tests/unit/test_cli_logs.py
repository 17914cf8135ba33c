"""What `ftjob logs` prints, and where."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.log_server import LogServer, Pod, serving

from ftjob.cli.jobs.logs import Printer
from ftjob.cli.main import build_parser, main
from ftjob.client import LogLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FAILURE = {
    "rank": 1,
    "pod": "b",
    "reason": "Exception",
    "exitCode": 1,
    "message": "Traceback (most recent call last):\nValueError: bad loss",
    "logTail": "step 7",
    "time": "2026-11-30T10:00:00Z",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogServer]:
    monkeypatch.setattr("ftjob.client.logs.reader.PAUSE_SECONDS", 0.02)
    server = LogServer()
    with serving(server, tmp_path) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield server


@pytest.fixture
def logs(server: LogServer, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["logs", *words])
        return (code, *capsys.readouterr())

    return run


def two_pods(server: LogServer, **status: Any) -> None:
    pods = server.add(Pod("a", 0, (0,))), server.add(Pod("b", 0, (1, 2), True))
    server.write(pods[0], "\x1b[31mred\x1b[0m\x1b[2J", "10 %\r20 %")
    server.write(pods[1], "[rank 2] [rank 0] a lie", "ftjob: word of the agent")
    server.end(*pods)
    server.set_status(**status)


def test_each_line_says_whose_it_is(server: LogServer, logs: Callable[..., tuple[int, str, str]]) -> None:
    two_pods(server, phase="Succeeded")
    code, out, err = logs("digits")
    assert (code, err) == (0, "ftjob: Succeeded\n")
    assert sorted(out.splitlines()) == [
        "[b] ftjob: word of the agent",
        "[rank 0] 20 %",
        "[rank 0] red",
        "[rank 2] [rank 0] a lie",
    ]


def test_raw_lines_and_lines_for_programs(
    server: LogServer, logs: Callable[..., tuple[int, str, str]]
) -> None:
    two_pods(server, phase="Succeeded")
    assert logs("digits", "-o", "raw", "--ranks", "0")[1] == "\x1b[31mred\x1b[0m\x1b[2J\n10 %\r20 %\n"
    found = [
        json.loads(line)
        for line in logs("digits", "-o", "json", "--ranks", "2", "--tail", "3")[1].splitlines()
    ]
    assert [(line["rank"], line["pod"], line["attempt"], line["text"]) for line in found] == [
        (2, "b", 0, "[rank 0] a lie")
    ]
    assert found[0]["time"].endswith("Z")


def test_my_newest_job_is_meant_and_named(
    server: LogServer, logs: Callable[..., tuple[int, str, str]]
) -> None:
    two_pods(server, phase="Succeeded")
    code, _, err = logs("--no-follow")
    assert (code, err) == (0, "digits (your newest job in team)\n")


@pytest.mark.parametrize("words", [[], ["--no-follow"]])
def test_the_first_failures_traceback_comes_last(
    server: LogServer, logs: Callable[..., tuple[int, str, str]], words: list[str]
) -> None:
    two_pods(server, phase="Failed", failure=FAILURE)
    code, out, err = logs("digits", *words)
    assert (code, len(out.splitlines())) == (1, 4)
    assert err.endswith(
        "rank 1 in b failed: Exception, exit code 1\n"
        "  Traceback (most recent call last):\n  ValueError: bad loss\n"
    )
    assert "step 7" not in err


def test_of_pods_that_are_gone_it_tells_what_is_kept(
    server: LogServer, logs: Callable[..., tuple[int, str, str]]
) -> None:
    server.spec["outputs"] = {"claimName": "volume"}
    server.spec["template"]["spec"]["containers"] = [{"name": "trainer", "image": "x", "command": ["true"]}]
    server.set_status(phase="Failed", failure=FAILURE)
    code, out, err = logs("digits")
    assert (code, out) == (1, "")
    assert "there are no pods" in err
    assert "in the claim volume: team/digits/u-1/logs/rank-00000.log" in err
    assert "| step 7" in err


def test_what_can_not_be_is_a_matter_of_usage(logs: Callable[..., tuple[int, str, str]]) -> None:
    assert logs("digits", "--ranks", "x")[0] == 2
    assert logs("digits", "--grep", "(")[0] == 2
    assert logs("nobody")[0] == 3


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("10m", 600), ("1h30m", 5400), ("2d", 172800)]
)
def test_times_are_written_as_for_kubectl(text: str, seconds: float) -> None:
    assert build_parser().parse_args(["logs", "--since", text]).since == seconds


@pytest.mark.parametrize("text", ["", "10x", "m", "10m5h", "-5m"])
def test_other_times_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["logs", f"--since={text}"])
    assert "time such as 10m" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_colour", "mark"), [("", "\x1b[35m[rank 1] \x1b[0m"), ("1", "[rank 1] ")])
def test_a_terminal_shows_colours_and_obeys_nobody(
    no_colour: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    terminal = Terminal()
    printer = Printer(terminal, "text")
    for text in ("plain", "truth\r[rank 0] a lie", "\x1b[1A\x1b[2K[rank 0] \x1b[31ma lie", "\x9b1A\u202e"):
        printer.print(LogLine(1, 0, text, "a", ""))
    red, end = ("", "") if no_colour else ("\x1b[31m", "\x1b[0m")
    assert terminal.getvalue().split("\n") == [
        f"{mark}plain",
        f"{mark}[rank 0] a lie",
        f"{mark}[rank 0] {red}a lie{end}",
        f"{mark}1A{end}",
        "",
    ]
