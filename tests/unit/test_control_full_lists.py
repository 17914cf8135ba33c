"""Full lists: a filled cache before any decision, and what the watches have missed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.control_fake import FakeKube, job_body, pod_body

from ftjob.control.cache.cache import Cache
from ftjob.control.queue import Queue
from ftjob.control.watching.feed import feed
from ftjob.control.watching.full_lists import Sweeper, fill
from ftjob.control.watching.reflector import Reflector
from ftjob.control.watching.signs import Signs
from ftjob.kube.errors import ForbiddenError
from ftjob.kube.resources import JOB, POD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ftjob.kube.resources import Resource

KEY = ("default", "digits")


async def filled() -> tuple[FakeKube, Cache, Queue]:
    kube, cache, queue = FakeKube(), Cache(), Queue()
    kube.put(job_body(status={"startTime": "2026-01-01T00:00:00Z"}))
    for index in range(2):
        kube.put(pod_body(index))
    await fill(kube, cache, queue, ())
    async for page in kube.list_pages(POD, None):
        for body in page.items:
            feed(cache, queue, POD, None, body)
    kube.calls.clear()
    assert await queue.get() == KEY
    queue.done(KEY)
    return kube, cache, queue


def names(cache: Cache, *, gone: bool = False) -> list[str]:
    job = cache.job(KEY)
    assert job is not None
    return [pod.name for pod in cache.observe(job).pods if pod.gone is gone]


async def test_everything_is_read_before_the_first_decision() -> None:
    _, cache, queue = await filled()
    assert names(cache) == ["digits-worker-0-0", "digits-worker-0-1"]
    assert queue.depth == 0


async def test_a_sweep_of_what_is_known_reads_metadata_only_and_changes_nothing() -> None:
    kube, cache, queue = await filled()
    kube.calls.clear()
    await Sweeper(kube, cache, queue, (), settle_seconds=0).sweep(POD)
    assert {verb for verb, _, _ in kube.calls} == {"list"}
    assert queue.depth == 0


async def test_a_sweep_finds_what_vanished_unseen() -> None:
    kube, cache, queue = await filled()
    del kube.objects["Pod", "default", "digits-worker-0-1"]
    await Sweeper(kube, cache, queue, (), settle_seconds=0).sweep(POD)
    assert names(cache) == ["digits-worker-0-0"]
    assert names(cache, gone=True) == ["digits-worker-0-1"]
    assert await queue.get() == KEY


class EventAfterTheList(FakeKube):
    """Lets an event of the watch arrive when the pods have been listed."""

    def __init__(self, event: Callable[[], object]) -> None:
        super().__init__()
        self.event = event

    async def list_pages(self, resource: Resource, *args: Any, **options: Any) -> AsyncIterator[Any]:
        async for page in super().list_pages(resource, *args, **options):
            yield page
        if resource is POD:
            self.event()


@pytest.mark.parametrize("lagging", ["a deletion", "a creation"])
async def test_a_sweep_reads_nothing_whose_event_is_on_its_way(lagging: str) -> None:
    first, cache, queue = await filled()
    gone, new = pod_body(1), pod_body(2, version="99")

    def event() -> None:
        if lagging == "a deletion":
            asyncio.get_running_loop().call_soon(cache.mark_deleted, POD, gone)
        else:
            cache.update(POD, new)

    kube = EventAfterTheList(event)
    kube.objects |= first.objects
    if lagging == "a deletion":
        del kube.objects["Pod", "default", gone["metadata"]["name"]]
    await Sweeper(kube, cache, queue, (), settle_seconds=0).sweep(POD)
    assert {verb for verb, _, _ in kube.calls} == {"list"}


async def test_a_sweep_finds_what_came_changed_or_was_replaced_unseen() -> None:
    kube, cache, queue = await filled()
    kube.put(pod_body(0, state={"running": {}}))
    kube.put(pod_body(1, uid="another"))
    kube.put(pod_body(2))
    await Sweeper(kube, cache, queue, (), settle_seconds=0).sweep(POD)
    assert names(cache) == ["digits-worker-0-0", "digits-worker-0-1", "digits-worker-0-2"]
    assert names(cache, gone=True) == ["digits-worker-0-1"]
    job = cache.job(KEY)
    assert job is not None
    assert cache.observe(job).pods[0].running


async def test_a_sweep_finds_jobs_that_vanished() -> None:
    kube, cache, queue = await filled()
    kube.objects.clear()
    await Sweeper(kube, cache, queue, (), settle_seconds=0).sweep(JOB)
    assert cache.job(KEY) is None
    await Sweeper(kube, cache, queue, (), settle_seconds=0).sweep(POD)
    assert cache._dependents == {}


def moved(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    body["metadata"] |= {"namespace": namespace, "uid": f"{namespace}-{body['metadata']['uid']}"}
    return body


async def test_only_the_namespaces_that_are_served_are_read() -> None:
    kube, cache, queue = FakeKube(), Cache(), Queue()
    for namespace in ("a", "b", "c"):
        kube.put(moved(job_body(), namespace))
    await fill(kube, cache, queue, ("a", "b"))
    assert {job.namespace for job in cache.jobs()} == {"a", "b"}


async def test_a_sweep_of_one_namespace_misses_nobody_of_another() -> None:
    kube, cache, queue = FakeKube(), Cache(), Queue()
    for namespace in ("a", "b"):
        kube.put(moved(job_body(), namespace))
    await fill(kube, cache, queue, ("a", "b"))
    kube.calls.clear()
    await Sweeper(kube, cache, queue, ("a", "b"), settle_seconds=0).sweep(JOB)
    assert {verb for verb, _, _ in kube.calls} == {"list"}
    assert {job.namespace for job in cache.jobs()} == {"a", "b"}


class Shut(FakeKube):
    """Refuses to list some namespaces, as where the operator's Role was deleted."""

    def __init__(self, *namespaces: str) -> None:
        super().__init__()
        self.shut = set(namespaces)

    async def list_pages(
        self, resource: Resource, namespace: str | None, **options: Any
    ) -> AsyncIterator[Any]:
        if namespace in self.shut:
            raise ForbiddenError(403, "Forbidden", "cannot list")
        async for page in super().list_pages(resource, namespace, **options):
            yield page


async def test_a_namespace_that_may_not_be_read_keeps_no_other_from_its_sweep() -> None:
    kube, cache, queue = Shut("a"), Cache(), Queue()
    kube.put(moved(job_body(), "b"))
    await Sweeper(kube, cache, queue, ("a", "b"), settle_seconds=0).sweep(JOB)
    assert {job.namespace for job in cache.jobs()} == {"b"}


async def test_a_namespace_that_may_not_be_read_at_the_start_waits_alone() -> None:
    kube, cache, queue = Shut("a"), Cache(), Queue()
    for namespace in ("a", "b"):
        kube.put(moved(job_body(), namespace))
    pods = Reflector(
        kube, cache, POD, "a", take=partial(feed, cache, queue), signs=Signs(), missing=lambda: None
    )
    running = asyncio.create_task(pods.run())
    await asyncio.gather(pods.listed.wait(), fill(kube, cache, queue, ("a", "b")))
    assert await queue.get() == ("b", "digits")

    cache.update(JOB, moved(job_body(), "a"))  # its watch may bring it before its pods are read
    assert cache.job(("a", "digits")) is None
    assert {job.namespace for job in cache.jobs()} == {"b"}

    kube.shut.clear()
    sweeper = Sweeper(kube, cache, queue, ("a", "b"), settle_seconds=0)
    while ("a", POD.kind) in cache.closed:
        await sweeper.sweep(JOB)
        assert cache.job(("a", "digits")) is None
        await asyncio.sleep(0.01)
    await sweeper.sweep(JOB)
    assert await queue.get() == ("a", "digits")
    assert cache.job(("a", "digits")) is not None
    running.cancel()
