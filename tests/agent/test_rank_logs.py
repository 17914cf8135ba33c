"""What ranks say: last lines in the failure, all of it in the outputs, and nothing that stops a rank."""

from __future__ import annotations

import collections
import json
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import plan, wait_for

from ftjob_agent import termination_log
from ftjob_agent.ranks.logtail import last_lines
from ftjob_agent.ranks.pump import Pump, RankLog
from ftjob_protocol import termination
from ftjob_protocol.failures import LOG_BYTES, LOG_LINES
from ftjob_protocol.files import nofollow

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import Agents

TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]


def with_outputs(folder: Path, **changes: Any) -> dict[str, Any]:
    return plan(outputs=str(folder / "outputs"), keepLogs=True, **changes)


def test_last_lines_are_what_a_terminal_would_show() -> None:
    raw = b"one\r\n\x1b[31mred\x1b[0m\n 10%\r 20%\r 30%\nbell\x07\x00\tand tab\n\xff\n\n"
    assert last_lines(raw) == "one\nred\n 30%\nbell\tand tab\n\N{REPLACEMENT CHARACTER}"


def test_last_lines_leave_out_what_is_known_and_a_first_line_without_its_beginning() -> None:
    raw = b"ad of a line\nstep 7\nTraceback:\n  raise it\nValueError: bad\n"
    assert last_lines(raw, known="Traceback:\n  raise it\nValueError: bad", is_cut=True) == "step 7"


@pytest.mark.parametrize("line", ["x", "é" * 290, "漢" * 4000, "\N{PILE OF POO}" * 299])
def test_last_lines_are_bounded_and_whole(line: str) -> None:
    found = last_lines("".join(f"{number} {line}\n" for number in range(100)).encode())
    assert len(found.encode()) <= LOG_BYTES
    assert len(found.split("\n")) <= LOG_LINES
    assert found.split("\n")[-1].startswith("99 ")


def test_the_termination_message_has_room_for_traceback_and_log() -> None:
    failure = {"rank": 0, "message": '\\"é\n' * 4000 + "THE END", "logTail": "\n".join(["ß" * 50] * 20)}
    captures = {f"s{number}": list(range(50)) for number in range(50)}
    data = termination_log.encode(
        {"version": 1, "failure": failure, "captures": captures, "notes": ["x" * 500] * 8}
    )
    assert len(data) <= termination.LIMIT
    found = json.loads(data)["failure"]
    assert found["message"].endswith("THE END")
    assert len(found["message"]) >= 1024
    assert found["logTail"].endswith("ß" * 50)


def test_the_failure_has_the_ranks_last_lines_of_both_streams(agents: Agents) -> None:
    source = """
for step in range(9): print("step", step)
sys.stdout.flush()
sys.stderr.write("loss is nan\\n")
sys.stdout.write("no newline here"); sys.stdout.flush()
record(ValueError("bad loss"))
sys.stderr.write("ValueError: bad loss\\n")
sys.exit(1)
"""
    run = agents.script(plan(), source)
    assert run.wait() == 1
    lines = run.failure["logTail"].split("\n")
    assert {"step 8", "loss is nan", "no newline here"} <= set(lines)
    assert "ValueError: bad loss" not in lines
    assert run.failure["message"].endswith("ValueError: bad loss")


def test_a_last_line_without_its_end_does_not_run_into_the_other_streams_next(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log, said = RankLog(None), [b"no newline here", b"ValueError: bad loss\n"]
    pipes = [os.pipe() for _ in said]
    pumps = [Pump(source, sink, log) for sink, (source, _) in enumerate(pipes, 1)]
    for pump, (_, end), data in zip(pumps, pipes, said, strict=True):
        pump.start()
        os.write(end, data)
        os.close(end)
        pump.join()
    assert log.tail == b"no newline here\nValueError: bad loss\n"
    assert capfd.readouterr().out == "no newline here"


def test_the_log_of_an_attempt_follows_that_of_the_one_before(agents: Agents, tmp_path: Path) -> None:
    for attempt in range(2):
        run = agents.script(
            with_outputs(tmp_path, attempt=attempt), f"print('in attempt {attempt}'); sys.exit({attempt})"
        )
        assert run.wait() == attempt
    log = (tmp_path / "outputs" / "logs" / "rank-00000.log").read_text()
    assert log == "in attempt 0\nftjob: attempt 1\nin attempt 1\n"


def test_lines_of_two_ranks_do_not_mix(agents: Agents) -> None:
    source = """
for number in range(3000):
    os.write(1, (f"{rank} {number} ").encode()); os.write(1, b"ab"[rank:rank + 1] * (number % 700) + b"\\n")
"""
    run = agents.script(plan(ranks=TWO, worldSize=2), source)
    assert run.wait() == 0
    lines = run.text("stdout").splitlines()
    assert sorted(lines) == sorted(
        f"{rank} {number} {'ab'[rank] * (number % 700)}" for rank in range(2) for number in range(3000)
    )


def test_a_line_without_its_end_is_shown_while_the_rank_runs(agents: Agents) -> None:
    source = "os.write(1, b'50 %'); os.write(2, b'half'); mark('up'); signal.pause()"
    run = agents.script(plan(), source)
    wait_for(lambda: run.text("stdout") == "50 %", "the progress bar")
    wait_for(lambda: run.text("stderr") == "half", "the prompt")


def test_a_full_volume_costs_the_log_and_not_the_rank(agents: Agents, tmp_path: Path) -> None:
    """A limit of the size of files stands in for the volume's."""
    agent = ["sh", "-c", 'ulimit -f 1000 && exec "$@"', "sh", sys.executable, "-m", "ftjob_agent"]
    source = "for _ in range(40): print('x' * 1000000)"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        reader = threading.Thread(target=lambda: _swallow(listener))
        reader.start()
        with socket.create_connection(listener.getsockname()) as stdout:
            run = agents.script(with_outputs(tmp_path), source, agent=agent, stdout=stdout)
        assert run.wait() == 0
        reader.join(60)
    assert run.message["notes"] == ["rank 0: the log was cut: File too large"]


def _swallow(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while connection.recv(1 << 20):
            pass


class Slow:
    """A FIFO: to open it takes until someone reads."""

    is_new = True

    def __init__(self, path: Path) -> None:
        self._path, self._fd = path, -1

    def open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY)

    def write(self, lines: bytes) -> None:
        nofollow.write_all(self._fd, lines)

    def close(self) -> None:
        os.close(self._fd)


class Pumped:
    """A stream of a rank whose log hangs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        os.mkfifo(self.path)
        self.log = RankLog(Slow(self.path))
        source, self._end = os.pipe()
        self._sink = os.open(os.devnull, os.O_WRONLY)
        self._pump = Pump(source, self._sink, self.log)
        self._pump.start()

    def say(self, data: bytes) -> None:
        """Write as a rank would, and wait until the pump has taken it."""
        nofollow.write_all(self._end, data)
        wait_for(lambda: self.log.tail.endswith(data[-100:]), "the pump")

    def end(self, seconds: float = 60) -> None:
        os.close(self._end)
        self._pump.join(60)
        assert not self._pump.is_alive()
        self.log.join(seconds)
        os.close(self._sink)


@pytest.fixture
def pumped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pumped:
    monkeypatch.setattr("ftjob_agent.ranks.pump._SINKS", collections.defaultdict(threading.Lock))
    return Pumped(tmp_path)


def test_a_volume_that_hangs_costs_the_log_and_not_the_rank(pumped: Pumped) -> None:
    for number in range(20):
        pumped.say(b"x" * 1_000_000 + b" %d\n" % number)
    pumped.end(0.1)
    assert pumped.log.error == "the log was cut: the volume hangs"
    assert pumped.log.tail.endswith(b"x 19\n")
    with pumped.path.open("rb") as log:  # so that the writer's thread ends
        log.read()


def test_a_volume_that_comes_back_gets_the_rest_and_says_what_is_missing(pumped: Pumped) -> None:
    line = b"x" * 9999 + b"\n"
    for _ in range(40):
        pumped.say(line * 100)
    with pumped.path.open("rb") as log:
        found = [log.read(4_000_000)]  # so there is room again
        reader = threading.Thread(target=lambda: found.append(log.read()))
        reader.start()
        pumped.say(b"the last line\n")
        pumped.end()
        reader.join(60)
    text = b"".join(found)
    assert text.endswith(b"\nthe last line\n")
    missing = [found for found in text.splitlines() if found.startswith(b"ftjob: the volume hung; ")]
    assert missing
    lost = sum(int(found.split()[4]) - len(found) - 1 for found in missing)
    assert lost + len(text) == 40_000_000 + len(b"the last line\n")
    assert not pumped.log.error


def test_a_rank_that_no_log_can_be_opened_for_runs_all_the_same(agents: Agents, tmp_path: Path) -> None:
    logs = tmp_path / "outputs" / "logs"
    (logs / "rank-00000.log").mkdir(parents=True)
    run = agents.start(with_outputs(tmp_path), [sys.executable, "-S", "-c", "print('well')"])
    assert run.wait() == 0
    assert run.text("stdout") == "well\n"
    assert run.message["notes"] == ["rank 0: the log was cut: Is a directory"]


def test_a_log_keeps_head_and_tail_over_all_attempts(agents: Agents, tmp_path: Path) -> None:
    limit, line = 1 << 20, "x" * 990
    for attempt in range(2):
        config = with_outputs(tmp_path, attempt=attempt, logLimitBytes=limit)
        run = agents.script(config, f"for n in range(3000): print({attempt}, n, '{line}')")
        assert run.wait() == 0
        assert run.message["notes"] == []
    logs = tmp_path / "outputs" / "logs"
    assert sum(path.stat().st_size for path in logs.iterdir()) <= limit
    head, older, newer = (
        (logs / f"rank-00000{part}.log").read_text().splitlines() for part in ("", ".tail-1", ".tail")
    )
    assert head[0] == f"0 0 {line}"
    assert head[-1].endswith("in logs/rank-00000.tail-1.log and logs/rank-00000.tail.log")
    assert newer[-1] == f"1 2999 {line}"
    kept = [*older, *newer]
    assert kept == [f"1 {number} {line}" for number in range(3000 - len(kept), 3000)]
    assert len(kept) * (len(line) + 8) >= limit // 4
