"""The windows of a scheduled profile, against those of torch."""

import itertools

import pytest

from ftjob_protocol.captures.schedule import ACTIVE, WAIT, WARM, Schedule, Windows

CASES = list(itertools.product([0, 1, 3], [0, 2], [0, 1], [1, 3], [1, 2]))


def phases(schedule: Schedule, done: list[int]) -> list[str]:
    seen = []
    for steps in done:
        before = schedule.phase
        phase = schedule.advance(steps)
        seen.append(schedule.advance(steps) if before == ACTIVE and phase == WAIT else phase)
    return seen


@pytest.mark.parametrize(("skip", "wait", "warmup", "active", "repeat"), CASES)
def test_each_step_is_in_the_window_that_torch_gives_it(
    skip: int, wait: int, warmup: int, active: int, repeat: int
) -> None:
    # What `torch.profiler.schedule` documents, written out: skip, then (wait, warm up, record) repeatedly.
    expected = [WAIT] * skip + ([WAIT] * wait + [WARM] * warmup + [ACTIVE] * active) * repeat + [WAIT] * 3
    spec = {"skipFirst": skip, "wait": wait, "warmup": warmup, "active": active, "repeat": repeat}
    assert phases(Schedule(Windows.read(spec)), list(range(len(expected)))) == expected


def test_steps_that_come_several_at_a_time_lose_no_window() -> None:
    schedule = Schedule(Windows(skip_first=1, wait=1, warmup=1, active=2, repeat=2))
    assert phases(schedule, [4, 8, 12, 16]) == [ACTIVE, ACTIVE, WAIT, WAIT]
    assert schedule.over


def test_the_first_captured_step_is_the_one_after_those_done() -> None:
    schedule = Schedule(Windows(skip_first=2, active=2))
    phases(schedule, [1, 2])
    assert (schedule.phase, schedule.first, schedule.capture) == (ACTIVE, 3, 0)


@pytest.mark.parametrize(("first", "warmup"), [(1, 2), (2, 2), (40, 2), (40, 0)])
def test_a_window_at_a_step_begins_there_however_little_time_there_is_to_warm_up(
    first: int, warmup: int
) -> None:
    windows = Windows.at(first, 3, warmup)
    schedule = Schedule(windows)
    seen = phases(schedule, list(range(50)))
    assert [step for step, phase in enumerate(seen, 1) if phase == ACTIVE] == [first, first + 1, first + 2]
    assert windows.first_step(0) == first
    assert schedule.over


def test_who_tells_of_a_schedule_counts_as_who_follows_it() -> None:
    windows = Windows(skip_first=3, wait=2, warmup=1, active=2, repeat=3)
    seen = phases(Schedule(windows), list(range(40)))
    begins = [step for step, phase in enumerate(seen, 1) if phase == ACTIVE and seen[step - 2] != ACTIVE]
    assert begins == [windows.first_step(number) for number in range(3)]
