"""What ranks say: last lines in the failure, all of it in the outputs, and nothing that stops a rank."""

from __future__ import annotations

import json
import os
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
    logs = tmp_path / "outputs" / "logs"
    logs.mkdir(parents=True)
    (logs / "rank-00000.log").symlink_to("/dev/full")
    run = agents.script(with_outputs(tmp_path), "for _ in range(40): print('x' * 1000000)")
    assert run.wait() == 0
    assert run.message["notes"] == ["rank 0: the log was cut: No space left on device"]
    assert len(run.text("stdout")) == 40 * 1000001


def test_a_volume_that_hangs_costs_the_log_and_not_the_rank(agents: Agents, tmp_path: Path) -> None:
    logs = tmp_path / "outputs" / "logs"
    logs.mkdir(parents=True)
    os.mkfifo(logs / "rank-00000.log")  # to open it takes until someone reads
    run = agents.script(with_outputs(tmp_path), "for _ in range(40): print('x' * 1000000)\nmark('done')")
    wait_for((run.folder / "done-0").exists, "the rank's end")
    assert run.wait() == 0
    assert run.message["notes"] == ["rank 0: the log was cut: the volume hangs"]
    assert len(run.text("stdout")) == 40 * 1000001


def test_a_volume_that_comes_back_gets_the_rest_and_says_what_is_missing(
    agents: Agents, tmp_path: Path
) -> None:
    logs = tmp_path / "outputs" / "logs"
    logs.mkdir(parents=True)
    os.mkfifo(logs / "rank-00000.log")
    source = """
for _ in range(4000): print('x' * 9999, flush=True)
mark('chatted')
while not os.path.exists('back'): time.sleep(0.01)
print('the last line')
"""
    run = agents.script(with_outputs(tmp_path), source)
    wait_for((run.folder / "chatted-0").exists, "the rank's first lines")
    with (logs / "rank-00000.log").open("rb") as log:
        found = [log.read(4_000_000)]  # so there is room again
        reader = threading.Thread(target=lambda: found.append(log.read()))
        (run.folder / "back").touch()
        reader.start()
        assert run.wait() == 0
        reader.join(60)
    text = b"".join(found)
    *_, missing, last = text.splitlines()
    assert last == b"the last line"
    assert missing.startswith(b"ftjob: the volume hung; ")
    lost = int(missing.split()[4])
    assert lost + len(text) - len(missing) - 1 == 40_000_000 + len(b"the last line\n")
    assert run.message["notes"] == []


def test_a_rank_that_no_log_can_be_opened_for_runs_all_the_same(agents: Agents, tmp_path: Path) -> None:
    logs = tmp_path / "outputs" / "logs"
    (logs / "rank-00000.log").mkdir(parents=True)
    run = agents.start(with_outputs(tmp_path), [sys.executable, "-S", "-c", "print('well')"])
    assert run.wait() == 0
    assert run.text("stdout") == "well\n"
    assert run.message["notes"] == ["rank 0: the log was cut: Is a directory"]
