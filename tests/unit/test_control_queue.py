"""The queue: each key once, one worker a key, later looks in time."""

import asyncio

from support.control_fake import Clock

from ftjob.control.queue import Queue

A, B = ("default", "a"), ("default", "b")


def queue() -> tuple[Queue, Clock]:
    clock = Clock()
    return Queue(clock=clock, jitter=lambda: 1.0), clock


async def test_a_key_that_waits_is_there_once_and_in_the_order_of_its_first_time() -> None:
    q, _ = queue()
    q.add(A)
    q.add(B)
    q.add(A)
    assert [await q.get(), await q.get()] == [A, B]
    assert q.depth == 0


async def test_a_key_added_while_a_worker_has_it_comes_again_after_that() -> None:
    q, _ = queue()
    q.add(A)
    assert await q.get() == A
    q.add(A)
    q.add(B)
    assert await q.get() == B  # A is not given to a second worker
    q.done(A)
    assert await q.get() == A


async def test_a_worker_that_waits_gets_what_comes() -> None:
    q, _ = queue()
    waiting = asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.add(A)
    assert await waiting == A


async def test_a_worker_that_goes_away_takes_no_key_with_it() -> None:
    q, _ = queue()
    first, second = asyncio.create_task(q.get()), asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.add(A)
    first.cancel()
    assert await second == A


async def test_the_earliest_of_several_later_looks_wins() -> None:
    q, clock = queue()
    q.add_after(A, 30)
    q.add_after(A, 5)
    q.add_after(A, 60)
    clock.now = 4.9
    q.move_due()
    assert q.depth == 0
    clock.now = 5.0
    q.move_due()
    assert await q.get() == A
    q.done(A)
    clock.now = 100.0
    q.move_due()
    assert q.depth == 0


async def test_a_look_makes_an_older_later_look_needless() -> None:
    q, clock = queue()
    q.add_after(A, 5)
    q.add(A)
    assert await q.get() == A
    q.done(A)
    clock.now = 10.0
    q.move_due()
    assert q.depth == 0


async def test_a_later_look_wakes_a_worker() -> None:
    q = Queue()
    waiting = asyncio.create_task(q.get())
    await asyncio.sleep(0)
    q.add_after(A, 0.01)
    assert await waiting == A


def test_backoff_doubles_up_to_a_minute_and_starts_anew_after_success() -> None:
    q, _ = queue()
    assert [q.back_off(A) for _ in range(12)] == [
        *(0.1 * 2**n for n in range(10)),
        60.0,
        60.0,
    ]
    q.forget_failures(A)
    assert q.back_off(A) == 0.1


async def test_the_age_is_that_of_the_oldest_key_that_waits_or_is_worked_on() -> None:
    q, clock = queue()
    assert q.oldest_age() == 0
    q.add(A)
    clock.now = 7.0
    q.add(B)
    clock.now = 10.0
    assert q.oldest_age() == 10.0
    assert await q.get() == A
    clock.now = 12.0
    assert q.oldest_age() == 5.0  # B waits since 7, A is worked on since 10
    q.done(A)
    assert await q.get() == B
    q.done(B)
    assert q.oldest_age() == 0
