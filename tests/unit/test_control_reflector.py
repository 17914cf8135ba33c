"""A reflector: whatever the API server answers, the cache gets to know what there is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from support.control_fake import FakeKube, Manifest, job_body, owner, pod_body

from ftjob.control.cache.cache import Cache
from ftjob.control.queue import Queue
from ftjob.control.watching import reflector as module
from ftjob.control.watching.discovery import Discovery
from ftjob.control.watching.feed import feed
from ftjob.control.watching.reflector import Reflector
from ftjob.control.watching.signs import Signs
from ftjob.control.watching.watches import Watches
from ftjob.kube.client import Page
from ftjob.kube.errors import ApiError, ForbiddenError, GoneError, NotFoundError, UnavailableError
from ftjob.kube.resources import JOB, POD, POD_GROUPS, Resource

KEY = ("default", "digits")
GROUP = POD_GROUPS[0][0]
BETA = (GROUP.api_version, GROUP.kind)


@dataclass
class Watched(FakeKube):
    """The API server in memory, with watches that the test drives."""

    streams: "dict[str, asyncio.Queue[Any]]" = field(default_factory=dict)
    refuse_lists: list[ApiError] = field(default_factory=list)

    def stream(self, resource: Resource) -> "asyncio.Queue[Any]":
        return self.streams.setdefault(resource.plural, asyncio.Queue())

    async def list_pages(
        self, resource: Resource, namespace: str | None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        if resource is not JOB and self.refuse_lists:
            raise self.refuse_lists.pop(0)
        async for page in super().list_pages(
            resource, namespace, selector=selector, metadata_only=metadata_only
        ):
            yield page

    async def watch(
        self, resource: Resource, namespace: str | None, *, selector: str = "", version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        self.calls.append(("watch", resource.kind, version))
        while True:
            event = await self.stream(resource).get()
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.001)


def reflect(kube: Watched, cache: Cache, missing: Any = lambda: None) -> "asyncio.Task[None]":
    take = partial(feed, cache, Queue())
    made = Reflector(kube, cache, POD, None, take=take, signs=Signs(), missing=missing)
    return asyncio.create_task(made.run())


async def until(true: Any) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  what it waits for has no event
            await asyncio.sleep(0.001)


def names(cache: Cache) -> list[str]:
    job = cache.job(KEY)
    assert job is not None
    return [pod.name for pod in cache.observe(job).pods if not pod.gone]


TROUBLE = {
    "gone": GoneError(410, "Expired", ""),
    "forbidden": ForbiddenError(403, "Forbidden", ""),
    "not served": NotFoundError(404, "NotFound", ""),
    "an error": UnavailableError(500, "InternalError", ""),
    "no JSON": UnavailableError(200, "NotJSON", ""),
    "an answer unheard of": ApiError(418, "Teapot", ""),
}


@pytest.mark.parametrize("error", TROUBLE.values(), ids=TROUBLE)
async def test_after_any_trouble_what_came_and_went_meanwhile_is_known(error: ApiError) -> None:
    kube, cache = Watched(), Cache()
    cache.update(JOB, kube.put(job_body(status={"startTime": "2026-01-01T00:00:00Z"})))
    kube.put(pod_body(0))
    running = reflect(kube, cache)
    await until(lambda: ("watch", "Pod", "0") in kube.calls)
    kube.refuse_lists = [error] * 3
    del kube.objects["Pod", "default", "digits-worker-0-0"]
    kube.put(pod_body(1))
    kube.stream(POD).put_nowait(error)
    await until(lambda: names(cache) == ["digits-worker-0-1"])
    kube.stream(POD).put_nowait(("ADDED", kube.put(pod_body(2))))
    await until(lambda: names(cache) == ["digits-worker-0-1", "digits-worker-0-2"])
    running.cancel()


async def test_a_watch_that_ends_goes_on_from_the_version_of_its_last_event() -> None:
    kube, cache = Watched(), Cache()
    cache.update(JOB, kube.put(job_body()))
    running = reflect(kube, cache)
    pod = kube.put(pod_body(0))
    kube.stream(POD).put_nowait(("ADDED", pod))
    kube.stream(POD).put_nowait(("BOOKMARK", {"metadata": {"resourceVersion": "77"}}))
    kube.stream(POD).put_nowait(None)
    await until(lambda: ("watch", "Pod", "77") in kube.calls)
    assert [verb for verb, kind, _ in kube.calls if kind == "Pod"] == ["list", "watch", "watch"]
    assert names(cache) == ["digits-worker-0-0"]
    running.cancel()


async def test_an_object_that_cannot_be_taken_in_ends_nothing() -> None:
    kube, cache = Watched(), Cache()
    cache.update(JOB, kube.put(job_body()))
    running = reflect(kube, cache)
    odd = pod_body(1)
    odd["status"] = "odd"
    kube.stream(POD).put_nowait(("ADDED", odd))
    kube.stream(POD).put_nowait(("ADDED", kube.put(pod_body(0))))
    await until(lambda: names(cache) == ["digits-worker-0-0"])
    running.cancel()


async def test_kinds_are_watched_while_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftjob.control.watching.discovery.SETTLE_SECONDS", 0.0)
    kube, cache, queue = Watched(), Cache(), Queue()
    cache.update(JOB, kube.put(job_body()))
    group = {
        "apiVersion": GROUP.api_version,
        "kind": GROUP.kind,
        "metadata": {
            "name": "digits-0",
            "namespace": "default",
            "labels": {"ftjob.dev/uid": "job-1"},
            "ownerReferences": [owner()],
        },
    }
    kube.put(group)
    discovery = Discovery(kube)
    await discovery.start()
    watches = Watches(kube, cache, queue, discovery, namespaces=(), signs=Signs())
    await watches.start()
    running = asyncio.create_task(watches.run())
    assert cache.served == frozenset()
    kube.kinds = {BETA}
    discovery.soon()
    await until(lambda: cache.served == {BETA})
    assert await queue.get() == KEY, "its decisions may be others now"
    assert [known.name for known in cache.known(GROUP).values()] == ["digits-0"]
    kube.kinds = set()
    discovery.soon()
    await until(lambda: cache.served == frozenset())
    assert cache.known(GROUP) == {}
    running.cancel()


async def test_each_namespace_has_watches_of_its_own_which_miss_nobody_of_another() -> None:
    kube, cache, queue = Watched(), Cache(), Queue()
    for namespace in ("a", "b", "c"):
        pod = pod_body(0, uid=f"pod-{namespace}")
        pod["metadata"]["namespace"] = namespace
        kube.put(pod)
    watches = Watches(kube, cache, queue, Discovery(kube), namespaces=("a", "b"), signs=Signs())
    await watches.start()
    running = asyncio.create_task(watches.run())
    assert {known.namespace for known in cache.known(POD).values()} == {"a", "b"}
    running.cancel()
