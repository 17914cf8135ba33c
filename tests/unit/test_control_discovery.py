"""What the API server serves: known at the start, and asked for again."""

import asyncio

import pytest
from support.control_fake import FakeKube, owner

from ftjob.control.cache.cache import Cache
from ftjob.control.watching import discovery as module
from ftjob.control.watching.discovery import Discovery
from ftjob.control.watching.feed import watched
from ftjob.kube.errors import UnavailableError
from ftjob.kube.resources import NETWORK_POLICIES, NETWORK_POLICY, OPTIONAL, POD_GROUPS

BETA = ("scheduling.k8s.io/v1beta1", "PodGroup")
ALPHA = ("scheduling.k8s.io/v1alpha3", "PodGroup")
RESOURCE = POD_GROUPS[0][0]


async def test_only_what_concerns_us_counts() -> None:
    kube = FakeKube(kinds={BETA, ("example.com/v1", "Thing")})
    found = Discovery(kube)
    await found.start()
    assert found.served == {BETA}


async def test_kinds_that_only_some_operators_may_read_are_found_by_those_alone() -> None:
    policy = (NETWORK_POLICY.api_version, NETWORK_POLICY.kind)
    kube = FakeKube(kinds={BETA, policy})
    usual, maker = Discovery(kube), Discovery(kube, (*OPTIONAL, NETWORK_POLICIES))
    await usual.start()
    await maker.start()
    assert usual.served == {BETA}
    assert maker.served == {BETA, policy}
    assert NETWORK_POLICY not in watched(usual.served)
    assert NETWORK_POLICY in watched(maker.served)


async def test_the_first_look_waits_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(FakeKube):
        async def served(self) -> frozenset[tuple[str, str]]:
            if not self.calls:
                self.calls.append(("list", "", ""))
                raise UnavailableError(0, "Away", "")
            return frozenset(self.kinds)

    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    found = Discovery(Late(kinds={BETA}))
    await found.start()
    assert found.served == {BETA}


async def test_it_says_when_the_answer_has_changed_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.0)

    class Counted(FakeKube):
        """Says when it was asked again."""

        looked: asyncio.Queue[int]

        async def served(self) -> frozenset[tuple[str, str]]:
            answer = await super().served()
            if len(self.calls) > 1:
                self.looked.put_nowait(len(self.calls))
            return answer

    kube = Counted(kinds={BETA})
    kube.looked = asyncio.Queue()
    found = Discovery(kube)
    await found.start()
    changes: asyncio.Queue[frozenset[tuple[str, str]]] = asyncio.Queue()
    running = asyncio.create_task(found.run(changes.put))
    found.soon()
    assert await asyncio.wait_for(kube.looked.get(), timeout=60) == 2
    assert changes.empty()
    kube.kinds.clear()
    found.soon()
    assert await asyncio.wait_for(changes.get(), timeout=60) == found.served == frozenset()
    running.cancel()


def test_of_several_versions_one_is_watched() -> None:
    names = [resource.api_version for resource in watched(frozenset({ALPHA, BETA}))]
    assert names.count(BETA[0]) == 1
    assert ALPHA[0] not in names


def test_a_group_is_known_from_lists_and_watches() -> None:
    meta = {
        "name": "digits-0",
        "namespace": "default",
        "uid": "g",
        "resourceVersion": "5",
        "ownerReferences": [owner()],
    }
    cache = Cache()
    assert cache.update(RESOURCE, {"metadata": meta}) == ("default", "digits")
    assert cache.known(RESOURCE) == {"g": ("default", "digits-0", "5")}
    newer = {"metadata": {**meta, "resourceVersion": "6"}}
    assert cache.update(RESOURCE, newer) is None, "nothing that we read has changed"
    condition = {"type": "PodGroupInitiallyScheduled", "status": "False", "reason": "Unschedulable"}
    words = {"metadata": {**meta, "resourceVersion": "7"}, "status": {"conditions": [condition]}}
    assert cache.update(RESOURCE, words) == ("default", "digits")
    assert cache.mark_deleted(RESOURCE, words) == ("default", "digits")
    assert cache.known(RESOURCE) == {}
