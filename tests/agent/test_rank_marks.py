"""Lines of several ranks in one pod: each says whose it is, and no rank can speak for another."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import plan, wait_for

from ftjob_protocol.values.marks import LINE_BYTES, mark_of, marked, read_mark, without_marks

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import Agents

TWO = [{"rank": rank, "localRank": rank, "env": {"FTJOB_RANK": str(rank)}} for rank in range(2)]


def with_marks(**changes: Any) -> dict[str, Any]:
    return plan(ranks=TWO, worldSize=2, markRanks=True, **changes)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"one\n", b"[rank 3] one\n"),
        (b"one\n\ntwo\n", b"[rank 3] one\n[rank 3] \n[rank 3] two\n"),
        (b"no end", b"[rank 3] no end\n"),
        (b"of Windows\r\n", b"[rank 3] of Windows\n"),
        (b" 1 %\r 2 %\r 3 %\n", b"[rank 3]  3 %\n"),
        (b" 1 %\r 2 %\r", b"[rank 3]  2 %\n"),
        (b"truth\r[rank 0] a lie\n", b"[rank 3] [rank 0] a lie\n"),
        (b"[rank 0] a lie\n", b"[rank 3] [rank 0] a lie\n"),
        (b"\xff\x00\n", b"[rank 3] \xff\x00\n"),
    ],
)
def test_each_line_gets_the_mark(said: bytes, shown: bytes) -> None:
    assert marked(said, mark_of(3)) == shown


@pytest.mark.parametrize("character", ["x", "é", "漢", "\N{PILE OF POO}"])
def test_a_long_line_goes_on_in_marked_ones_that_no_runtime_cuts(character: str) -> None:
    text = "a" + character * (3 * LINE_BYTES // len(character.encode()))
    lines = marked(text.encode() + b"\nnext\n", mark_of(3)).splitlines()
    assert max(map(len, lines)) <= LINE_BYTES
    found = [read_mark(line) for line in lines]
    assert {rank for rank, _ in found} == {3}
    assert [said.decode() for _, said in found][-1] == "next"
    assert "".join(said.decode() for _, said in found[:-1]) == text


def test_a_mark_is_read_at_the_beginning_alone() -> None:
    assert read_mark(b"[rank 12] [rank 3] text") == (12, b"[rank 3] text")
    for line in (b" [rank 1] x", b"[rank 1]x", b"[rank -1] x", b"[rank 01] x", b"[rank 1234567890] x", b""):
        assert read_mark(line) == (None, line)
    assert without_marks("[rank 1] a\n[rank 12] b\nc [rank 1] d") == "a\nb\nc [rank 1] d"


def test_ranks_of_one_pod_are_told_apart_and_the_files_stay_raw(agents: Agents, tmp_path: Path) -> None:
    source = """
for number in range(2000):
    os.write(1 + number % 2, (f"{rank} {number} ").encode())
    os.write(1 + number % 2, b"ab"[rank:rank + 1] * (number % 700) + b"\\n")
os.write(1, b"10 %\\r20 %"); os.write(2, b"the last line")
"""
    config = with_marks(outputs=str(tmp_path / "outputs"), keepLogs=True)
    run = agents.script(config, source)
    assert run.wait() == 0
    seen: dict[int | None, list[str]] = {0: [], 1: []}
    for name in ("stdout", "stderr"):
        for line in run.text(name).encode().splitlines():
            rank, text = read_mark(line)
            seen.setdefault(rank, []).append(text.decode())
    assert set(seen) == {0, 1}
    for rank in range(2):
        wanted = [f"{rank} {number} {'ab'[rank] * (number % 700)}" for number in range(2000)]
        assert sorted(seen[rank]) == sorted([*wanted, "20 %", "the last line"])
        log = (tmp_path / "outputs" / "logs" / f"rank-{rank:05d}.log").read_bytes().decode()
        assert sorted(log.split("\n")) == sorted([*wanted, "10 %\r20 %", "the last line", ""])


def test_the_failure_of_a_rank_has_no_marks(agents: Agents) -> None:
    source = """
print("about to fail", flush=True)
if rank == 1:
    record(ValueError("bad loss"))
    sys.stderr.write("ValueError: bad loss\\n")
    sys.exit(1)
"""
    run = agents.script(with_marks(), source)
    assert run.wait() == 1
    assert "about to fail" in run.failure["logTail"].split("\n")
    assert "[rank" not in json.dumps(run.message)


def test_a_line_without_its_end_is_shown_once_and_what_follows_it_too(agents: Agents, tmp_path: Path) -> None:
    source = """
if rank == 0:
    os.write(1, b"loading ...")
    while not os.path.exists(GO): time.sleep(0.02)
    os.write(1, b" done\\n"); os.write(1, b"asking ...")
    while not os.path.exists(GO + "-2"): time.sleep(0.02)
    os.write(1, b"\\nnext\\n")
"""
    go = tmp_path / "go"
    run = agents.script(with_marks(), f"GO = {str(go)!r}{source}")
    wait_for(lambda: run.text("stdout") == "[rank 0] loading ...\n", "the first line")
    go.touch()
    wait_for(lambda: "asking" in run.text("stdout"), "the second line")
    go.with_name("go-2").touch()
    assert run.wait() == 0
    assert run.text("stdout").splitlines() == [
        "[rank 0] loading ...",
        "[rank 0]  done",
        "[rank 0] asking ...",
        "[rank 0] next",
    ]


@pytest.mark.parametrize("config", [{}, {"markRanks": False}])
def test_a_config_that_does_not_ask_for_marks_has_none(agents: Agents, config: dict[str, Any]) -> None:
    run = agents.start(
        plan(ranks=TWO, worldSize=2, **config), [sys.executable, "-S", "-c", "print('as it is')"]
    )
    assert run.wait() == 0
    assert run.text("stdout") == "as it is\n" * 2
