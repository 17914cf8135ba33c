"""The operator's tasks: one that ends is the end of all, and its error is not lost."""

import asyncio

import pytest

from ftjob.control.process.tasks import Tasks, unless


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("broken")


async def test_a_task_that_ends_stops_the_operator_which_raises_its_error() -> None:
    stop = asyncio.Event()
    tasks = Tasks(stop)
    tasks.start("lasting", for_ever())
    tasks.start("failing", fail())
    await stop.wait()
    await tasks.finish()
    with pytest.raises(ValueError, match="broken"):
        tasks.raise_error()


async def test_tasks_that_are_cancelled_or_end_by_themselves_are_no_error() -> None:
    stop = asyncio.Event()
    tasks = Tasks(stop)
    ended: list[str] = []

    async def end_at_stop() -> None:
        await stop.wait()
        ended.append("by itself")

    tasks.start("lasting", for_ever())
    tasks.start("polite", end_at_stop(), ends_by_itself=True)
    stop.set()
    await tasks.finish()
    tasks.raise_error()
    assert ended == ["by itself"]


async def test_an_operator_that_is_stopped_before_its_first_task_just_ends() -> None:
    tasks = Tasks(asyncio.Event())
    await tasks.finish()
    tasks.raise_error()


async def test_work_is_done_to_its_end_unless_it_is_stopped_before() -> None:
    stop = asyncio.Event()
    assert await unless(stop, asyncio.sleep(0))
    with pytest.raises(ValueError, match="broken"):
        await unless(stop, fail())
    stop.set()
    assert not await unless(stop, for_ever())
