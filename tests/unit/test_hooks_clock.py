"""The clock in a rank: what a step's record holds, and that the ring outlives its process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from support.volumes import volume

from ftjob_agent.hooks.ftjob_hooks import notes, process
from ftjob_agent.hooks.ftjob_hooks.clock import collectives, compiling, inputs, recorder
from ftjob_agent.hooks.ftjob_hooks.clock.recorder import StepClock
from ftjob_agent.hooks.ftjob_hooks.clock.ring import Ring
from ftjob_protocol.vitals import clock as layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ftjob_protocol.vitals.clock import StepRecord


class Rank:
    """A clock that records, and what it has recorded."""

    def __init__(self, path: Path) -> None:
        self.clock = StepClock()
        self._path = str(path)
        self.clock.begin(Ring(self._path, 5), 0)
        self.steps = 0

    def step(self, count: int = 1) -> None:
        self.steps += count
        self.clock.ended(self.steps, count, "torch")

    def records(self) -> tuple[StepRecord, ...]:
        found = layout.read(self._path)
        assert found is not None
        return found.records


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rank is one of several."""
    monkeypatch.setenv("FTJOB_WORLD_SIZE", "2")


@pytest.fixture
def rank(tmp_path: Path, others: None, monkeypatch: pytest.MonkeyPatch) -> Rank:
    monkeypatch.setattr(notes, "_unseen", [])
    monkeypatch.setattr(recorder, "time", TIME)
    monkeypatch.setenv("FTJOB_RANK_DIR", str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch.cuda", raising=False)
    found = Rank(tmp_path / "clock.bin")
    monkeypatch.setattr(recorder, "current", found.clock)
    for module in (inputs, collectives, compiling):
        monkeypatch.setattr(module, "current", found.clock)
    return found


class Time:
    """The monotonic clock of these tests, which goes on while somebody sleeps, and else stands."""

    def __init__(self) -> None:
        self.now = 10**9

    def monotonic_ns(self) -> int:
        return self.now


TIME = Time()


def nap(milliseconds: int = 10) -> int:
    """Sleep, and return for how many microseconds."""
    TIME.now += milliseconds * 1_000_000
    return milliseconds * 1000


def test_parts_of_a_step_are_what_was_spent_in_them(rank: Rank) -> None:
    rank.step()
    for length in (1, 2, 3):
        inputs._timed(lambda _self: nap(20))(None)
        nap(length)
        collectives._waiting(lambda: nap(5))()
        collectives._waiting(lambda: nap(7))()
        rank.step()
        found = rank.records()[-1]
        assert (found.input_us, found.blocked_us, found.own_us) == (20_000, 12_000, 20_000 + length * 1000)
        assert found.step_us == found.own_us + found.blocked_us
        assert (found.step, found.collectives, found.flags) == (rank.steps, 2, 0)
        assert found.end_ns == TIME.now


def test_waiting_for_others_within_the_input_is_no_input(rank: Rank) -> None:
    slept = []
    wait = collectives._waiting(lambda: slept.append(nap()))

    def load(_self: None) -> None:
        slept.append(nap())
        wait()

    rank.step()
    inputs._timed(load)(None)
    rank.step()
    (found,) = rank.records()
    assert (found.input_us, found.blocked_us) == (slept[0], slept[1])


def test_iterators_and_waits_within_others_count_once(rank: Rank) -> None:
    slept = []
    wait = collectives._waiting(collectives._waiting(lambda: slept.append(nap())))
    load = inputs._timed(inputs._timed(lambda _self: slept.append(nap())))
    rank.step()
    wait()
    load(None)
    rank.step()
    (found,) = rank.records()
    assert (found.blocked_us, found.input_us, found.collectives) == (slept[0], slept[1], 1)


def test_what_is_raised_gets_through_and_the_clock_goes_on(rank: Rank) -> None:
    def fail(*_: object) -> None:
        raise StopIteration

    for wrapped in (collectives._waiting(fail), inputs._timed(fail)):
        for _ in range(2):
            with pytest.raises(StopIteration):
                wrapped(None)
    rank.step()
    load = inputs._timed(lambda _self: nap())
    load(None)
    rank.step()
    (found,) = rank.records()
    assert found.input_us == 10_000


def test_a_reducer_blocks_from_its_last_collective_to_the_end_of_the_backward_pass(rank: Rank) -> None:
    rank.step()
    is_ours = rank.clock.backward_begins()
    nap()
    rank.clock.arrives()
    nap()
    rank.clock.arrives()
    waited = nap()
    rank.clock.backward_ends(is_ours)
    nap()
    rank.step()
    (found,) = rank.records()
    assert (found.blocked_us, found.collectives, found.flags & layout.BLOCKED_UNKNOWN) == (
        waited,
        2,
        0,
    )


def test_what_python_has_waited_for_blocks_the_backward_pass_no_longer(rank: Rank) -> None:
    slept = []
    rank.step()
    is_ours = rank.clock.backward_begins()
    rank.clock.arrives()
    collectives._waiting(lambda: slept.append(nap()))()
    nap()
    rank.clock.backward_ends(is_ours)
    rank.step()
    assert rank.records()[0].blocked_us == slept[0]


def read_at_once(patch: pytest.MonkeyPatch) -> None:
    """Let a step be read while its last collective is under way: the wait falls into the next step."""
    late: list[Callable[[], None]] = []
    ended = StepClock.ended

    def postponed(ends: Callable[[StepClock, Any], None]) -> Callable[[StepClock, Any], None]:
        def postpone(clock: StepClock, began: Any) -> None:
            now = TIME.now

            def end() -> None:
                TIME.now, after = now, TIME.now
                ends(clock, began)
                TIME.now = after

            late.append(end)

        return postpone

    def read(clock: StepClock, *arguments: Any) -> None:
        ended(clock, *arguments)
        while late:
            late.pop(0)()

    for name in ("wait_ends", "backward_ends"):
        patch.setattr(StepClock, name, postponed(getattr(StepClock, name)))
    patch.setattr(StepClock, "ended", read)


@pytest.mark.parametrize(
    "check",
    [
        test_parts_of_a_step_are_what_was_spent_in_them,
        test_a_reducer_blocks_from_its_last_collective_to_the_end_of_the_backward_pass,
        test_what_python_has_waited_for_blocks_the_backward_pass_no_longer,
    ],
)
def test_a_clock_that_reads_a_step_before_its_waits_have_ended_fails_the_checks(
    check: Callable[[Rank], None], rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_at_once(monkeypatch)
    with pytest.raises(AssertionError):
        check(rank)


def test_a_backward_pass_within_another_is_a_part_of_it(rank: Rank) -> None:
    outer = rank.clock.backward_begins()
    inner = rank.clock.backward_begins()
    assert (outer, inner) == (True, False)
    rank.clock.backward_ends(inner)
    rank.clock.backward_ends(outer)
    assert rank.clock.backward_begins()


def in_a_thread(call: Callable[[], object], name: str = "loader") -> None:
    thread = threading.Thread(target=call, name=name)
    thread.start()
    thread.join()


def test_other_threads_neither_wait_nor_load_for_the_step(rank: Rank) -> None:
    rank.step()
    in_a_thread(lambda: inputs._timed(lambda _self: nap())(None))
    in_a_thread(collectives._waiting(nap))
    rank.step()
    (found,) = rank.records()
    assert (found.input_us, found.blocked_us) == (0, 0)


def test_a_thread_that_goes_on_making_steps_is_the_one_that_is_watched(rank: Rank) -> None:
    def train() -> None:
        for _ in range(20):
            inputs._timed(lambda _self: nap())(None)
            rank.step()

    rank.step()
    main = rank.clock.thread
    in_a_thread(rank.step)
    in_a_thread(rank.step, name="ftjob-steps")
    assert rank.clock.thread == main
    in_a_thread(train)
    assert rank.clock.thread != main
    assert rank.records()[-1].input_us == 10_000


def test_steps_that_end_at_once_are_recorded_as_their_mean(rank: Rank) -> None:
    rank.step()
    slept = nap()
    rank.step(4)
    (found,) = rank.records()
    assert (found.step, found.step_us) == (5, slept // 4)


def test_what_is_no_whole_step_is_not_recorded(rank: Rank) -> None:
    rank.step()
    rank.clock.restart()
    rank.step()
    assert rank.records() == ()
    rank.step()
    assert [found.step for found in rank.records()] == [3]


def test_a_step_that_compiles_or_is_captured_says_so_alone(rank: Rank) -> None:
    tracing = SimpleNamespace(_create_concrete_function=lambda: "made")
    compiling.hook_tracing(tracing)  # type: ignore[arg-type]
    told: list[Callable[..., None]] = []
    compiling.hook_dynamo(SimpleNamespace(on_compile_start=told.append))  # type: ignore[arg-type]
    rank.step()
    assert tracing._create_concrete_function() == "made"
    rank.step()
    told[0](SimpleNamespace(compile_id="0/0"))
    rank.step()
    rank.clock.mark(layout.CAPTURE)
    rank.step()
    rank.step()
    seen = [found.flags & (layout.CAPTURE | layout.COMPILE) for found in rank.records()]
    assert seen == [layout.COMPILE, layout.COMPILE, layout.CAPTURE, 0]


def test_without_a_sign_of_input_or_collectives_they_are_unknown(rank: Rank) -> None:
    for _ in range(20):
        rank.step()
    unknown = layout.BLOCKED_UNKNOWN | layout.INPUT_UNKNOWN
    assert {found.flags for found in rank.records()} == {unknown}
    assert {(found.own_us, found.blocked_us) for found in rank.records()} == {(0, 0)}
    blocked, data = notes._unseen
    assert blocked.startswith("blocked time: no collective")
    assert data.startswith("input time: no batch")


def test_a_rank_alone_is_never_blocked(rank: Rank, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FTJOB_WORLD_SIZE", "1")
    alone = Rank(tmp_path / "alone.bin")
    for _ in range(2):
        alone.step()
    (found,) = alone.records()
    assert not found.flags & layout.BLOCKED_UNKNOWN
    assert found.own_us == found.step_us


@pytest.mark.parametrize(
    ("reason", "is_known"), [("", True), ("gpu", False), ("old torch", False), ("functional", False)]
)
def test_waits_that_python_cannot_see_make_a_step_unknown(
    rank: Rank, monkeypatch: pytest.MonkeyPatch, reason: str, is_known: bool
) -> None:
    rank.step()
    collectives._waiting(nap)()
    rank.step()
    if reason == "gpu":
        monkeypatch.setitem(sys.modules, "torch.cuda", SimpleNamespace(_initialized=True))
    if reason == "old torch":
        rank.clock.blind = "this version of torch is too old"
    if reason == "functional":
        rank.clock.arrives()
    else:
        collectives._waiting(nap)()
    rank.step()
    first, last = rank.records()
    assert not first.flags & layout.BLOCKED_UNKNOWN
    assert bool(last.flags & layout.BLOCKED_UNKNOWN) != is_known


def test_a_batch_before_the_first_step_tells_nothing_of_the_input(rank: Rank) -> None:
    inputs._timed(lambda _self: None)(None)
    for _ in range(5):
        rank.step()
    assert all(found.flags & layout.INPUT_UNKNOWN for found in rank.records())


def test_input_that_came_long_ago_is_unknown(rank: Rank) -> None:
    for _ in range(2):
        rank.step()
    inputs._timed(lambda _self: None)(None)
    for _ in range(150):
        rank.step()
    known = [not found.flags & layout.INPUT_UNKNOWN for found in rank.records()][1:]
    assert known[:90] == [True] * 90
    assert known[-30:] == [False] * 30


def test_times_are_cut_to_what_the_file_holds(rank: Rank) -> None:
    rank.step()
    rank.clock._began -= 10**16
    rank.step()
    (found,) = rank.records()
    assert found.step_us == layout.MOST
    assert found.is_sound


def test_the_ring_outlives_a_killed_process_and_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "clock.bin"
    program = """
import os, sys
from ftjob_agent.hooks.ftjob_hooks.clock.ring import Ring
from ftjob_protocol.vitals.clock import StepRecord
ring = Ring(sys.argv[1], int(sys.argv[2]))
for step in range(int(sys.argv[3])):
    ring.write(StepRecord(1, step, 1, 0, 1, 0, 0, 0))
os.kill(os.getpid(), 9)
"""
    for began, steps in ((7, 1500), (8, 3)):
        done = subprocess.run([sys.executable, "-c", program, path, str(began), str(steps)], check=False)
        assert done.returncode == -9
        found = layout.read(str(path))
        assert found is not None
        assert (found.began_ns, found.head) == (began, steps)
        assert [entry.step for entry in found.records] == list(range(max(0, steps - 1023), steps))


def test_a_link_in_the_place_of_the_ring_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("mine")
    (tmp_path / "clock.bin").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="symbolic links"):
        Ring(str(tmp_path / "clock.bin"), 1)
    assert (tmp_path / "theirs").read_text() == "mine"


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    with volume(tmp_path / "volume", "4k") as folder:
        yield folder


def test_a_full_volume_is_an_error_and_no_signal_later(small_volume: Path) -> None:
    (small_volume / "other").write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match="No space"):
        Ring(str(small_volume / "clock.bin"), 1)
    with pytest.raises(OSError, match="No space"):
        process.claim(str(small_volume / "steps.bin"), 64)
    os.close(process._kept.pop())


def test_a_forked_child_records_nothing_into_the_file_of_its_parent(
    rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank.step()
    monkeypatch.setattr(recorder, "current", rank.clock)
    child = os.fork()
    if child == 0:
        try:
            for _ in range(5):
                rank.step()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    rank.step()
    assert [found.step for found in rank.records()] == [2]
