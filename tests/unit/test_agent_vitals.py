"""What an agent makes of its ranks' clocks, and what the leader keeps of it."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.clocks import BEGAN_NS, block, records, write_clock

from ftjob_agent.linux import Cgroup
from ftjob_agent.star.slow import judge as judging
from ftjob_agent.star.slow.judge import Judge, Scene
from ftjob_agent.star.slow.kept import Kept
from ftjob_agent.vitals.cutter import Cut, Cutter
from ftjob_agent.vitals.diary import DOUBLED_EVERY, Lines
from ftjob_agent.vitals.signals import Used
from ftjob_diagnosis import findings
from ftjob_diagnosis.window import MEMORY, Seen
from ftjob_protocol.vitals.block import STEPS_TOLD, Lengths, Report
from ftjob_protocol.vitals.clock import BLOCKED_UNKNOWN, INSIDE
from ftjob_protocol.vitals.history import read_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ftjob_diagnosis.window import Window


def used(seconds: float, **changes: Any) -> Used:
    """Return what a rank has used that keeps one core busy for half of the time."""
    time_ns = BEGAN_NS + int(seconds * 1e9)
    return Used(time_ns, seconds / 2, seconds / 4, seconds / 10, seconds / 100, 1 << 30, None)._replace(
        **changes
    )


def firsts(cuts: list[Cut]) -> list[int]:
    return [cut.block.first for cut in cuts]


def test_blocks_are_cut_where_all_ranks_cut_them(tmp_path: Path) -> None:
    cutter = Cutter(3, str(tmp_path))
    cutter.look(None)
    assert cutter.cut(Lengths(8)) == []
    write_clock(tmp_path, records(1, 20))
    cutter.look(None)
    cuts = cutter.cut(Lengths(8))
    assert firsts(cuts) == [1, 9]
    assert [cut.block.is_first for cut in cuts] == [True, False]
    assert [step.step for step in cuts[1].block.steps] == list(range(9, 17))
    assert cuts[1].block.start_s == pytest.approx(cuts[0].block.end_s)
    write_clock(tmp_path, records(1, 24))
    cutter.look(None)
    assert firsts(cutter.cut(Lengths(8))) == [17]
    assert cutter.cut(Lengths(8)) == []


def test_a_block_says_what_the_rank_used_meanwhile(tmp_path: Path) -> None:
    cutter = Cutter(0, str(tmp_path))
    for seconds in range(8):
        cutter.look(used(seconds + 0.5))
    (tmp_path / "where.json").write_text(json.dumps({"samples": 200, "lines": [["a.py:1 f", "input", 0.5]]}))
    write_clock(tmp_path, records(1, 256))
    cutter.look(None)
    (cut,) = cutter.cut(Lengths(256))
    assert cut.block.cpu_ms == pytest.approx(10, rel=0.1)
    assert cut.block.graph_ms == pytest.approx(5, rel=0.1)
    assert cut.block.run_delay_ms == pytest.approx(2, rel=0.1)
    assert cut.block.throttled_ms == pytest.approx(0.2, rel=0.1)
    assert (cut.block.rss_bytes, cut.block.gpu_bytes) == (1 << 30, None)
    assert [line.text for line in cut.block.where] == ["a.py:1 f"]
    assert len(cut.block.steps) == STEPS_TOLD


def test_what_a_rank_used_is_unknown_where_nobody_looked(tmp_path: Path) -> None:
    cutter = Cutter(0, str(tmp_path))
    for seconds in (100, 101):
        cutter.look(used(seconds, run_delay_seconds=None))
    write_clock(tmp_path, records(1, 8))
    cutter.look(None)
    (cut,) = cutter.cut(Lengths(8))
    assert (cut.block.cpu_ms, cut.block.run_delay_ms) == (None, None)


def test_a_process_that_begins_anew_begins_new_blocks(tmp_path: Path) -> None:
    cutter = Cutter(0, str(tmp_path))
    write_clock(tmp_path, records(1, 12))
    cutter.look(None)
    assert firsts(cutter.cut(Lengths(8))) == [1]
    write_clock(tmp_path, records(1, 12), began_ns=BEGAN_NS + 1)
    cutter.look(None)
    again = cutter.cut(Lengths(8))
    assert firsts(again) == [1]
    assert again[0].block.is_first
    write_clock(tmp_path, [*records(1, 12), *records(1, 9)], began_ns=BEGAN_NS + 1)  # counts anew by itself
    cutter.look(None)
    assert firsts(cutter.cut(Lengths(8))) == [1]


def test_a_block_that_the_ring_has_lost_a_part_of_is_left_out(tmp_path: Path) -> None:
    cutter = Cutter(0, str(tmp_path))
    write_clock(tmp_path, records(1, 10))
    cutter.look(None)
    write_clock(tmp_path, records(1, 1100))
    cutter.look(None)
    found = firsts(cutter.cut(Lengths(8)))
    assert (found[0], found[-1]) == (81, 1089)  # the ring has steps 78 to 1100, and 78 is within a block
    assert found == list(range(81, 1090, 8))


def test_steps_that_are_made_several_at_a_time_make_blocks(tmp_path: Path) -> None:
    cutter = Cutter(0, str(tmp_path))
    write_clock(tmp_path, records(1, 160)[9::10])
    cutter.look(None)
    cuts = cutter.cut(Lengths(64))
    assert firsts(cuts) == [1, 65]
    assert [step.step for step in cuts[1].steps] == list(range(70, 130, 10))


def test_the_lines_of_a_rank_get_longer_and_stay_short(tmp_path: Path) -> None:
    lines = Lines("node-7")
    written = []
    for number in range(DOUBLED_EVERY + 10):
        first = 8 * number + 1
        made = records(first, 8)
        cut = Cut(block(5, first, made, length=8, is_first=not number), made)
        written.append(lines.add(2, cut, memory_limit=1 << 33))
    shown = [read_line(text) for text in written if text]
    assert len(shown) == DOUBLED_EVERY + 5
    assert shown[0] is not None
    assert (shown[0]["attempt"], shown[0]["rank"], shown[0]["stepMs"]) == (2, 5, [20.0, 20.0, 20.0])
    assert shown[0]["isFirst"] is True
    assert [line["memoryLimitBytes"] for line in shown if line and "memoryLimitBytes" in line] == [1 << 33]
    assert shown[-1] is not None
    assert (shown[-1]["first"], shown[-1]["length"]) == (8 * (DOUBLED_EVERY + 8) + 1, 16)
    assert max(map(len, written)) < 500


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"1", b'{"rank": "x", "first": 1}', b"[" * 9999])
def test_a_line_that_is_none_says_nothing(text: bytes) -> None:
    assert read_line(text) is None


def report(ranks: range, first: int, *, length: int = 8, is_first: bool = False, **times: Any) -> Report:
    made = records(first, length, **times)
    blocks = [block(rank, first, made, length=length, is_first=is_first) for rank in ranks]
    return Report("node-a", 1 << 34, tuple(blocks))


def test_a_block_is_kept_once_all_ranks_have_told_of_it() -> None:
    kept = Kept(4)
    assert not kept.take(report(range(2), 1), 2)
    assert kept.take(report(range(2, 4), 1), 2)
    assert not kept.take(report(range(2, 4), 1), 2)  # told again
    (only,) = kept.blocks
    assert [rank.rank for rank in only.ranks] == [0, 1, 2, 3]
    assert (only.ranks[0].node, len(only.ranks[0].steps)) == ("node-a", 8)
    assert kept.memory_limit == 1 << 33
    assert kept.seen == Seen(input=True, collectives=True)


def test_a_rank_that_does_not_tell_is_not_waited_for_for_ever() -> None:
    kept = Kept(2)
    assert [kept.take(report(range(1), first), 1) for first in (1, 9, 17, 25)] == [False, False, True, True]
    assert [[rank.rank for rank in found.ranks] for found in kept.blocks] == [[0], [0]]


def test_what_is_missing_between_blocks_shows_in_their_numbers() -> None:
    kept = Kept(1)
    for first, length in ((1, 8), (9, 8), (17, 16), (65, 16)):
        assert kept.take(report(range(1), first, length=length), 1)
    assert [found.number for found in kept.blocks] == [1, 2, 3, 5]


def test_ranks_that_are_started_anew_are_known_by_their_first_block() -> None:
    kept = Kept(1)
    for first in (1, 9):
        kept.take(report(range(1), first, is_first=first == 1), 1)
    again = report(range(1), 1, is_first=True).blocks[0]
    assert kept.begins_anew(replace(again, start_s=again.start_s + 60))
    assert not kept.begins_anew(again), "it was told again, for the answer had not come"
    assert not kept.begins_anew(report(range(1), 17, is_first=True).blocks[0])


def test_a_rank_that_tells_its_first_block_late_has_not_begun_anew() -> None:
    kept = Kept(2)
    for first in (1, 9, 17):
        kept.take(report(range(1), first, is_first=first == 1), 1)
    assert kept.blocks, "the other one is not waited for any more"
    assert not kept.begins_anew(report(range(1, 2), 1, is_first=True).blocks[0])


def test_old_blocks_keep_their_pauses_and_what_is_typical() -> None:
    kept = Kept(2)
    for number in range(MEMORY.all + 5):
        made = records(8 * number + 1, 8)
        made[3] = made[3]._replace(step_us=900_000)
        told = [block(rank, 8 * number + 1, made, length=8) for rank in range(2)]
        kept.take(Report("", None, tuple(told)), 2)
    assert len(kept.blocks) == MEMORY.all
    assert [len(found.ranks[0].steps) for found in kept.blocks[-MEMORY.whole - 1 :]] == [1, 8, 8, 8, 8]
    assert kept.blocks[0].ranks[1].steps[0].step_ms == 900
    typical = kept.blocks[0].ranks[0].typical
    assert typical is not None
    assert typical.own_ms == 15


def test_ten_thousand_ranks_take_a_bounded_part_of_the_memory() -> None:
    kept = Kept(10_000)
    for number in range(MEMORY.whole + 4):
        first = 64 * number + 1
        (one,) = report(range(1), first, length=64).blocks
        told = [one.__class__(**{**one.__dict__, "rank": rank}) for rank in range(10_000)]
        kept.take(Report("", None, tuple(told)), 10_000)
    steps = sum(len(rank.steps) for found in kept.blocks for rank in found.ranks)
    assert steps == MEMORY.whole * 10_000 * 8
    assert len(kept.blocks) == 6
    assert sys.getsizeof(kept.blocks[-1].ranks[0].steps[0]) < 150


class Bench:
    """A judge, and a diagnosis that says what a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ranks: int = 2) -> None:
        self.windows: list[Window] = []
        self.before: list[findings.Diagnosis | None] = []
        self.says: Callable[[], findings.Diagnosis] = lambda: findings.Diagnosis(
            (), "no problem", Seen(), is_clear=True
        )
        self.told = 0
        monkeypatch.setattr(judging, "diagnose", self._diagnose)
        monkeypatch.setattr(threading, "Thread", _AtOnce)
        self.judge = Judge("Torchrun", lambda call: call(), self._tell)
        self.scene = Scene(0, ranks, {"step": 100, "totalSteps": 1100, "stepSeconds": 0.02})
        self.judge.look(self.scene, 0.0)

    def hear(self, first: int, *, begun: float = 0.0, **changes: Any) -> None:
        told = report(range(self.scene.ranks), first, **changes).as_json()
        for found in told["blocks"]:
            found["startS"], found["endS"] = found["startS"] + begun, found["endS"] + begun
        self.judge.hear("worker-0", told, range(2))

    def _diagnose(self, window: Window, before: findings.Diagnosis | None) -> findings.Diagnosis:
        self.windows.append(window)
        self.before.append(before)
        return self.says()

    def _tell(self) -> None:
        self.told += 1


class _AtOnce:
    def __init__(self, *, target: Callable[[], None], **_: Any) -> None:
        self.start = target


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def straggler(share: float = 0.25, rank: int = 1) -> findings.Diagnosis:
    found = findings.Finding(
        findings.Kind.STRAGGLER,
        (rank,),
        None,
        findings.Cause.INPUT,
        share,
        findings.Confidence.HIGH,
        "load.py:31 decode",
        (findings.Evidence("own 20 ms, others 15", "ranks/1/ownMs"),),
        "raise num_workers",
        f"straggler: rank {rank} costs {share:.0%}",
    )
    return findings.Diagnosis((found,), found.text, Seen())


def test_two_blocks_are_judged_with_what_is_known_of_the_job(bench: Bench) -> None:
    bench.hear(1)
    assert bench.judge.verdict is None
    bench.hear(9)
    (window,) = bench.windows
    assert (window.ranks, window.strategy, window.eta_s) == (2, "Torchrun", 20.0)
    assert (window.memory_limit_bytes, len(window.blocks)) == (1 << 33, 2)
    assert bench.judge.verdict is not None
    assert (bench.judge.verdict.text, bench.judge.verdict.kind, bench.told) == ("no problem", "NoProblem", 1)


def test_the_operator_is_woken_when_the_verdict_is_another_one(bench: Bench) -> None:
    bench.says = straggler
    bench.hear(1)
    bench.hear(9)
    bench.says = lambda: straggler(0.3)
    bench.hear(17)
    assert bench.told == 1
    verdict = bench.judge.verdict
    assert verdict is not None
    assert verdict.text == "straggler: rank 1 costs 30%"
    assert verdict.findings[0].ranks == (range(1, 2),)
    assert verdict.findings[0].excess_ms == pytest.approx(6.0)
    bench.says = lambda: straggler(rank=0)
    bench.hear(25)
    assert bench.told == 2
    assert bench.before == [None, straggler(), straggler(0.3)]


def test_what_is_not_sure_is_not_told(bench: Bench) -> None:
    (found,) = straggler().findings
    low = found.__class__(**{**found.__dict__, "confidence": findings.Confidence.LOW})
    bench.says = lambda: findings.Diagnosis((low,), "nothing sure", Seen())
    for first in (1, 9, 17, 25):
        assert bench.judge.verdict is None  # that nothing can be said is said later
        bench.hear(first)
    assert bench.judge.verdict is not None
    assert bench.judge.verdict.findings == ()


def test_a_defect_of_the_diagnosis_costs_the_verdict_alone(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.says = lambda: 1 / 0  # type: ignore[assignment, return-value]
    bench.hear(1)
    bench.hear(9)
    assert bench.judge.verdict is None
    assert "ZeroDivisionError" in capsys.readouterr().err
    bench.says = straggler
    bench.hear(17)
    assert bench.judge.verdict is not None


@pytest.mark.parametrize("said", [1, [], {"blocks": 1}, {"blocks": [{"rank": 1}]}])
def test_an_agent_that_tells_nonsense_costs_nothing_but_its_steps(
    bench: Bench, capsys: pytest.CaptureFixture[str], said: Any
) -> None:
    bench.judge.hear("worker-1", said, range(2))
    bench.judge.hear("worker-1", said, range(2))
    assert capsys.readouterr().err.count("the steps of worker-1 are left out") == 1
    bench.hear(1)
    bench.hear(9)
    assert bench.judge.verdict is not None


def test_an_agent_tells_of_its_own_ranks_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.judge.hear("worker-1", report(range(2), 1).as_json(), [1])
    assert "others' ranks" in capsys.readouterr().err


def test_another_attempt_or_generation_is_judged_by_its_own_steps(bench: Bench) -> None:
    for first in (1, 9):
        bench.hear(first)
    bench.judge.look(Scene(1, 2, bench.scene.progress), 50.0)
    bench.hear(1)
    assert len(bench.windows) == 1
    bench.hear(9)
    assert bench.before == [None, None]
    bench.hear(1, is_first=True, begun=60.0)  # a rank was started in place of one
    bench.hear(9)
    assert bench.before == [None, None, None]


def test_steps_that_are_compiled_with_their_collectives_are_told_apart_after_three_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled, seen = Bench(monkeypatch), Bench(monkeypatch)
    told = []
    for first in (1, 9, 17):
        compiled.hear(first, flags=BLOCKED_UNKNOWN | INSIDE)
        seen.hear(first, flags=BLOCKED_UNKNOWN)
        told.append((compiled.judge.is_blind, seen.judge.is_blind))
    assert told == [(False, False), (False, False), (True, False)]
    compiled.judge.look(Scene(1, 2, compiled.scene.progress), 50.0)
    assert not compiled.judge.is_blind


def test_blocks_are_short_at_first_and_follow_the_pace(bench: Bench) -> None:
    judge = bench.judge
    # Of 20 ms: at least 5 s, rounded down to what ranks can agree on.
    assert judge.block_lengths == Lengths(128)
    judge.look(bench.scene, 20.0)
    assert judge.block_lengths == Lengths(128)
    judge.look(bench.scene, 600.0)
    assert judge.block_lengths == Lengths(256, before=128, since=769)
    judge.look(replace(bench.scene, progress={"step": 765, "stepSeconds": 1.0}), 601.0)
    assert judge.block_lengths.length == 256, "agents may have begun with it"
    slower = replace(bench.scene, progress={"step": 770, "stepSeconds": 10.0})
    judge.look(slower, 602.0)
    assert judge.block_lengths == Lengths(8, before=256, since=1025)
    judge.look(replace(slower, progress={"step": 770, "stepSeconds": 0.1}), 603.0)
    assert judge.block_lengths == Lengths(256), "nobody has begun with blocks of 8"
    for pace in (float("nan"), None, -1.0):
        judge.look(replace(slower, progress={"step": 770, "stepSeconds": pace}), 604.0)
    assert judge.block_lengths == Lengths(256)


def test_blocks_of_a_large_job_are_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    large = Bench(monkeypatch, ranks=1000)
    large.judge.look(large.scene, 600.0)
    assert large.judge.block_lengths.length == 1024


@pytest.mark.parametrize(("before", "after"), [(128, 64), (64, 128), (8, 256), (256, 8)])
def test_blocks_of_ranks_that_hear_of_another_length_at_different_times_meet(
    tmp_path: Path, before: int, after: int
) -> None:
    told = [Lengths(before), Lengths(before).then(after, 100, 160)]
    assert Lengths.read(told[1].as_json()) == told[1]
    blocks = []
    for rank, heard in enumerate((132, 160)):
        folder, made = tmp_path / str(rank), list[tuple[int, int]]()
        folder.mkdir()
        cutter = Cutter(rank, str(folder), 2)
        for step in range(4, 1000, 4):
            write_clock(folder, records(1, step))
            cutter.look(None)
            made += [(cut.block.first, cut.block.length) for cut in cutter.cut(told[step >= heard])]
        blocks.append(made)
    assert blocks[0] == blocks[1]
    assert [first for first, _ in blocks[0]] == [
        1,
        *(first + length for first, length in blocks[0][:-1]),
    ], "no step is left out"
    assert {length for _, length in blocks[0]} == {before, after}


def test_the_container_s_limits_are_read_of_both_versions(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 5\nthrottled_usec 2500000\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    second = Cgroup(str(tmp_path), str(tmp_path / "membership"))
    assert (second.throttled_seconds(), second.memory_limit()) == (2.5, 1 << 30)
    (tmp_path / "cpu.max").write_text("30000 100000\n")
    (tmp_path / "cpu.stat").write_text("nr_throttled 100\nthrottled_usec 2500000\n")
    assert second.throttled_seconds() == pytest.approx(7), "70 ms are left of each period"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert second.throttled_seconds() == 2.5
    (tmp_path / "memory.max").write_text("max\n")
    assert Cgroup(str(tmp_path), str(tmp_path / "membership")).memory_limit() is None
    first = tmp_path / "v1"
    for folder, name, text in (
        ("cpu", "cpu.stat", "nr_periods 1\nthrottled_time 1500000000\n"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712\n"),
    ):
        (first / folder / "pod").mkdir(parents=True)
        (first / folder / "pod" / name).write_text(text)
    (first / "membership").write_text("4:memory:/pod\n3:cpu,cpuacct:/pod\n")
    (first / "cpu" / "pod" / "cpu.cfs_quota_us").write_text("-1\n")
    (first / "cpu" / "pod" / "cpu.cfs_period_us").write_text("100000\n")
    found = Cgroup(str(first), str(first / "membership"))
    assert (found.throttled_seconds(), found.memory_limit()) == (1.5, None)
    (first / "memory" / "pod" / "memory.limit_in_bytes").write_text("2147483648\n")
    assert Cgroup(str(first), str(first / "membership")).memory_limit() == 1 << 31
