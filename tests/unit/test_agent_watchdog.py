"""The watchdog's pure parts: reading stacks, ages of steps, and who is to blame."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.agent_runs import plan

from ftjob_agent import termination_log
from ftjob_agent.star.book import Book
from ftjob_agent.star.hang_judge import ANSWER_SECONDS, FIRST_STEP_SECONDS, MESSAGE_BYTES, Watchdog, blame
from ftjob_agent.watching import stacks
from ftjob_agent.watching.hang_watch import Clock
from ftjob_agent.watching.rank_folder import RankProgress
from ftjob_agent.watching.stacks import Frame, Process
from ftjob_protocol.agent_config import parse
from ftjob_protocol.states import Command

SITE = "/usr/lib/python3.11/site-packages"
REDUCE = Frame(f"{SITE}/torch/distributed/distributed_c10d.py", "2501", "all_reduce")
MAIN = Frame("/app/train.py", "60", "<module>")
LOAD = Frame("/app/data.py", "7", "load")

FAULTHANDLER = """Thread 0x00007f0b0d7fe700 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007f0b0e7fe700 [worker] (most recent call first):
  <no Python frame>

Current thread 0x00007f0b12345740 (most recent call first):
  Garbage-collecting
  File "/app/data.py", line 7 in load
  File "/app/a dir, line 3/train.py", line 60 in <module>
"""

PY_SPY = """Process 42: python3 train.py
Python v3.11.4 (/usr/bin/python3.11)

Thread 43 (idle): "QueueFeederThread"
    wait (threading.py:324)
Thread 42 (active): "MainThread"
    load (data.py:7)
        Arguments:
    <module> (train.py:60)
"""


def test_the_main_threads_stack_is_read_from_faulthandlers_text() -> None:
    assert stacks.parse(FAULTHANDLER) == (LOAD, Frame("/app/a dir, line 3/train.py", "60", "<module>"))
    assert stacks.parse("") == ()
    assert stacks.parse("nothing\nof the kind") == ()


def test_of_more_than_a_hundred_threads_that_with_the_signal_counts() -> None:
    """The main thread is the oldest, which are left out; the kernel gives it the signal."""
    some = 'Thread 0x01 (most recent call first):\n  File "/a.py", line 1 in wait\n'
    current = 'Current thread 0x02 (most recent call first):\n  File "/app/data.py", line 7 in load\n'
    text = some + current + some
    assert stacks.parse(f"{text}...\n") == (LOAD,)
    assert stacks.parse(text) == (Frame("/a.py", "1", "wait"),)


@pytest.mark.parametrize("line", ["9" * 5000, "9" * 20, "999999999"])
def test_a_line_that_no_file_has_is_looked_for_in_none(line: str) -> None:
    text = f'Current thread 0x01 (most recent call first):\n  File "{__file__}", line {line} in f\n'
    told = stacks.summary(0, 1, [Process(1, "python3", stacks.parse(text), text)], 1)
    assert len(told["where"]) < 200


def test_the_main_threads_stack_is_read_from_py_spy() -> None:
    assert stacks.parse_py_spy(PY_SPY) == (Frame("data.py", "7", "load"), Frame("train.py", "60", "<module>"))
    assert stacks.parse_py_spy("Error: Permission denied") == ()


def test_equal_stacks_have_equal_keys_whatever_the_addresses_and_other_threads() -> None:
    texts = [FAULTHANDLER, FAULTHANDLER.replace("0x00007f0b12345740", "0x00007fffffff0000")[190:]]
    keys = {
        stacks.summary(0, 1, [Process(1, "python3", stacks.parse(text), text)], 1)["key"] for text in texts
    }
    assert len(keys) == 1
    other = FAULTHANDLER.replace("line 7", "line 8")
    assert stacks.summary(0, 1, [Process(1, "", stacks.parse(other), other)], 1)["key"] not in keys


def test_of_several_processes_the_one_that_trains_is_told() -> None:
    processes = [Process(1, "bash", (), ""), Process(2, "python3", (MAIN,), ""), Process(3, "", (LOAD,), "")]
    assert stacks.summary(0, 1, processes, 3)["frames"] == ["load (app/data.py:7)"]
    assert stacks.summary(0, 1, processes, 1)["frames"] == ["<module> (app/train.py:60)"]
    nothing = stacks.summary(5, None, processes[:1], 1)
    assert (nothing["rank"], nothing["where"]) == (5, "no Python stack: bash")


def test_where_a_rank_is_names_the_library_and_the_users_line(tmp_path: Any) -> None:
    script = tmp_path / "train.py"
    script.write_text("import x\n\n    dist.all_reduce(  gradient )\n")
    wrapper = Frame("/ftjob/agent/ftjob-agent.pyz/ftjob_agent/hooks/ftjob_hooks/on_torch.py", "9", "step")
    frames = (wrapper, REDUCE, Frame(str(script), "3", "average"))
    told = stacks.summary(0, 1, [Process(1, "", frames, "")], 1)
    assert told["waits"]
    assert told["where"] == (
        "all_reduce (torch/distributed/distributed_c10d.py:2501) from "
        f"average ({tmp_path.name}/train.py:3): dist.all_reduce( gradient )"
    )


def entry(rank: int, frames: tuple[Frame, ...], step: int | None = 20, **more: Any) -> dict[str, Any]:
    return stacks.summary(rank, step, [Process(1, "python3", frames, "")], 1) | more


WAITS, LOADS, USES = (REDUCE, MAIN), (LOAD, MAIN), (Frame("/app/train.py", "9", "use"), MAIN)


@pytest.mark.parametrize(
    ("entries", "rank", "words"),
    [
        ([entry(rank, LOADS if rank == 3 else WAITS) for rank in range(8)], 3,
         "rank 3 is at load (app/data.py:7), while ranks 0-2, 4-7 wait at all_reduce ("),
        ([entry(0, WAITS), entry(1, LOADS)], 1, "rank 1 is at load"),
        ([entry(0, LOADS), entry(1, WAITS)], 0, "rank 0 is at load"),
        # Who waits holds nobody up, though most are elsewhere.
        ([entry(0, WAITS), entry(1, LOADS), entry(2, LOADS), entry(3, LOADS, step=19)], 3,
         "ranks 1-3 are at load (app/data.py:7), while rank 0 waits at all_reduce"),
        # Nobody waits for anybody, as far as is seen: the odd one out.
        ([entry(0, USES), entry(1, USES), entry(2, LOADS)], 2, "rank 2 is at load"),
        # All wait, but not for the same: one is in another collective.
        ([entry(0, WAITS), entry(1, (REDUCE, LOAD)), entry(2, WAITS)], 1, "rank 1 is at all_reduce"),
        ([entry(rank, WAITS) for rank in range(4)], 0, "all 4 ranks wait at the same place, all_reduce"),
        ([entry(rank, WAITS, step=19 if rank == 2 else 20) for rank in range(4)], 2,
         "rank 2 has made the fewest steps (19)"),
        ([entry(0, LOADS)], 0, "rank 0 is at load (app/data.py:7)"),
        ([entry(0, WAITS), entry(1, LOADS, counts=False), entry(2, LOADS, counts=False)], 0,
         "rank 0 is at all_reduce"),
        ([], 4, "no rank gave its stack"),
    ],
    ids=["one of eight", "one of two", "the first of two", "one waits for three", "nobody waits",
         "another collective", "all alike", "all alike but one step behind", "alone", "parameter servers",
         "no stacks"],
)  # fmt: skip
def test_who_is_to_blame(entries: list[dict[str, Any]], rank: int, words: str) -> None:
    for order in (entries, entries[::-1]):
        found, text = blame(order, "no step for 60 s", missing=() if entries else (5, 4))
        assert found == rank
        assert text.splitlines()[-1].startswith("no step for 60 s")
        assert words in text.splitlines()[-1]


def test_ranks_that_gave_no_stacks_are_named() -> None:
    _, text = blame([entry(0, WAITS)], "no step", missing=[3, 1, 2])
    assert text.endswith("; no stacks came from ranks 1-3")


def test_a_thousand_ranks_at_different_places_fit_into_the_message() -> None:
    deep = tuple(Frame(f"/app/{'deep' * 20}/ä{line}.py", str(line), "f" * 60) for line in range(50))
    entries = [entry(rank, (*deep[rank % 40 :], MAIN)) for rank in range(1000)]
    rank, text = blame(entries, "no step for 60 s")
    assert len(text.encode()) <= MESSAGE_BYTES
    failure = {"rank": rank, "message": text, "logTail": "x" * 99}
    assert b"no step for 60 s" in termination_log.encode({"failure": failure})


@dataclass
class FakeProcess:
    pid: int


@dataclass
class FakeSpec:
    rank: int


@dataclass
class FakeRank:
    """As much of a rank as a clock looks at."""

    spec: FakeSpec
    process: FakeProcess
    code: int | None = None


@dataclass
class Look:
    clock: Clock = field(default_factory=Clock)

    def __call__(self, now: float, *ranks: FakeRank, **steps: RankProgress) -> dict[str, Any] | None:
        progress = {int(name[1:]): found for name, found in steps.items()}
        self.clock.look(ranks, progress, now)  # type: ignore[arg-type]
        return self.clock.idle(now, hooked=False)


def rank(number: int, pid: int | None = None, code: int | None = None) -> FakeRank:
    return FakeRank(FakeSpec(number), FakeProcess(pid or 100 + number), code)


def told(seconds: float, *, stepped: bool) -> dict[str, Any]:
    return {"seconds": seconds, "stepped": stepped, "hooked": False}


def test_a_clock_counts_from_the_start_and_from_each_word_of_progress() -> None:
    look = Look()
    assert look(0) is None
    assert look(1, rank(0)) == told(0, stepped=False)
    assert look(5, rank(0)) == told(4, stepped=False)
    assert look(6, rank(0), r0=RankProgress(step=1, time_ns=10)) == told(0, stepped=True)
    assert look(9, rank(0), r0=RankProgress(step=1, time_ns=10)) == told(3, stepped=True)
    # The wall clock was set back by a year.
    assert look(10, rank(0), r0=RankProgress(step=2, time_ns=5)) == told(0, stepped=True)
    assert look(11, rank(0), r0=RankProgress(step=2, epoch=0.5, time_ns=5)) == told(0, stepped=True)


def test_optimizers_that_do_not_count_keep_a_clock_young() -> None:
    look = Look()
    look(0, rank(0))
    assert look(5, rank(0), r0=RankProgress(seen_ns=1)) == told(0, stepped=True)
    # The script says its steps itself, and says no more.
    assert look(9, rank(0), r0=RankProgress(step=3, time_ns=7, seen_ns=2)) == told(0, stepped=True)
    assert look(15, rank(0), r0=RankProgress(step=3, time_ns=7, seen_ns=3)) == told(0, stepped=True)
    assert look(18, rank(0), r0=RankProgress(step=3, time_ns=7, seen_ns=3)) == told(3, stepped=True)


def test_any_rank_that_moves_keeps_a_clock_young_and_ended_ones_do_not_count() -> None:
    look, one, two = Look(), RankProgress(step=1), RankProgress(step=2)
    look(0, rank(0), rank(1), r0=one, r1=one)
    assert look(5, rank(0), rank(1), r0=one, r1=two) == told(0, stepped=True)
    assert look(9, rank(0), rank(1, code=0), r0=one, r1=two) == told(4, stepped=True)
    assert look(10, rank(0, code=0), rank(1, code=0), r0=one, r1=two) is None


def test_a_rank_that_is_started_anew_has_its_first_step_before_it() -> None:
    look, one = Look(), RankProgress(step=7)
    look(0, rank(0), r0=one)
    assert look(60, rank(0, pid=999)) == told(0, stepped=False)
    assert look(70, rank(0, pid=999)) == told(10, stepped=False)


class Job:
    """A leader's book with reports as agents would send them."""

    def __init__(self, agents: int = 2, hang: float = 10.0) -> None:
        ranks = [{"rank": 0, "localRank": 0, "env": {}}]
        self.book = Book(parse(json.dumps(plan(agents=agents, worldSize=agents, ranks=ranks))), 0)
        self.watchdog = Watchdog(self.book, hang)
        self._sequence = 0

    def report(self, now: float, *ages: dict[str, Any]) -> None:
        """Let agents tell how old their last step is."""
        for index, age in enumerate(ages):
            self._tell(now, index, idle=age)
        self.watchdog.look(now)

    def answer(self, now: float, *entries: dict[str, Any]) -> None:
        """Let agents tell where their ranks are, too."""
        for index, found in enumerate(entries):
            answer = {"asked": self.book.stacks_asked, "ranks": [found], "folder": "captures/hang-0"}
            self._tell(now, index, idle=told(12, stepped=True), stacks=answer)
        self.watchdog.look(now)

    def _tell(self, now: float, index: int, **more: Any) -> None:
        self._sequence += 1
        report = {"attempt": 0, "life": f"life {index}", "sequence": self._sequence, "state": "Running"}
        ranks = [{"rank": index, "state": "Running"}]
        self.book.hear(("worker", index), {**report, "ranks": ranks, **more}, now)


def test_stacks_are_asked_for_when_nobody_steps_and_the_culprit_is_named() -> None:
    job = Job()
    job.report(0, told(0, stepped=False), told(0, stepped=False))
    assert job.book.command == Command.START
    job.report(11, told(10, stepped=True), told(9.9, stepped=True))
    assert not job.book.stacks_asked
    version = job.book.answer_version
    job.report(12, told(11, stepped=True), told(10.9, stepped=True))
    assert job.book.stacks_asked == job.book.answer_version > version
    assert job.book.answer(("worker", 1))["stacks"] == job.book.stacks_asked
    job.answer(13, entry(0, WAITS))
    assert job.book.command == Command.START
    job.answer(14, entry(0, WAITS), entry(1, LOADS))
    assert job.book.command == Command.STOP
    found = job.book.failure
    assert found is not None
    assert (found.failure_class, found.rank, found.exit_code) == ("Hang", 1, None)
    assert found.message.splitlines()[-2:][0] == "all stacks: captures/hang-0"
    assert found.message.splitlines()[-1].startswith("no step for 12 s: rank 1 is at load (app/data.py:7)")


def test_a_step_that_comes_after_all_calls_it_off() -> None:
    job = Job()
    job.report(0, told(0, stepped=False), told(0, stepped=False))
    job.report(12, told(11, stepped=True), told(11, stepped=True))
    assert job.book.stacks_asked
    job.report(13, told(0, stepped=True), told(12, stepped=True))
    assert (job.book.stacks_asked, job.book.command) == (0, Command.START)
    job.watchdog.look(13 + ANSWER_SECONDS)
    assert job.book.command == Command.START


def test_an_agent_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    job = Job()
    job.report(0, told(0, stepped=False), told(0, stepped=False))
    job.report(12, told(11, stepped=True), told(11, stepped=True))
    job.answer(13, entry(0, WAITS))
    job.watchdog.look(12 + ANSWER_SECONDS - 1)
    assert job.book.command == Command.START
    job.watchdog.look(12 + ANSWER_SECONDS)
    assert job.book.failure is not None
    assert job.book.failure.message.endswith("; no stacks came from rank 1")


def test_a_late_report_makes_no_hang() -> None:
    job = Job()
    job.report(0, told(0, stepped=True), told(0, stepped=True))
    job.watchdog.look(25)  # nothing was heard for 25 s, which says nothing of steps
    assert not job.book.stacks_asked


def test_those_who_never_step_do_not_count() -> None:
    job = Job()
    job.report(0, told(0, stepped=False), told(0, stepped=False))
    job.report(20, told(1, stepped=True), told(20, stepped=False))
    assert not job.book.stacks_asked
    job.report(40, told(11, stepped=True), told(40, stepped=False))
    assert job.book.stacks_asked


def test_before_the_first_step_there_is_more_time_and_without_any_no_end() -> None:
    job = Job()
    hooked = {"stepped": False, "hooked": True}
    job.report(0, told(0, stepped=False), told(0, stepped=False))
    job.report(5, told(5, stepped=False), told(5, stepped=False))
    assert job.book.leader_state().watchdog == ""
    job.report(9999, told(9999, stepped=False), told(9999, stepped=False))
    assert not job.book.stacks_asked
    assert "$FTJOB_PROGRESS_FILE" in job.book.leader_state().watchdog
    before = job.book.version
    late = FIRST_STEP_SECONDS - 1
    job.report(9999, {"seconds": late, **hooked}, {"seconds": late, **hooked})
    assert not job.book.stacks_asked
    assert "300 s after the start" in job.book.leader_state().watchdog
    assert job.book.version > before
    job.report(9999, *[{"seconds": FIRST_STEP_SECONDS, **hooked}] * 2)
    assert job.book.stacks_asked
    job.answer(9999, entry(0, WAITS, step=None), entry(1, LOADS, step=None))
    assert job.book.failure is not None


def test_the_next_attempt_of_the_same_agents_begins_anew() -> None:
    job = Job()
    job.report(0, told(0, stepped=True), told(0, stepped=True))
    job.report(12, told(11, stepped=True), told(11, stepped=True))
    job.answer(13, entry(0, WAITS), entry(1, LOADS))
    job.book.command, job.book.failure = Command.START, None
    job.watchdog.look(14)
    assert (job.book.command, job.book.stacks_asked) == (Command.START, 0)
