"""Leader election against an API server in memory, with clocks that the test moves."""

import asyncio

import pytest
from support.control_fake import Clock, FakeKube

from ftjob.control.process import lease as module
from ftjob.control.process.lease import LEASE_SECONDS, RENEW_SECONDS, LeaseHolder
from ftjob.kube.errors import UnavailableError


class LeftError(Exception):
    """Stands for the end of the process."""


def leave(code: int) -> None:
    raise LeftError(code)


def holder(kube: FakeKube, clock: Clock, identity: str) -> LeaseHolder:
    return LeaseHolder(kube, namespace="own", identity=identity, clock=clock, leave=leave)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_takes_the_lease_and_the_second_waits_for_its_end() -> None:
    kube, clock = FakeKube(), Clock()
    await holder(kube, clock, "first").acquire()
    second = holder(kube, clock, "second")
    waiting = asyncio.create_task(second.acquire())
    await turns()
    clock.now = LEASE_SECONDS
    await turns()
    assert not waiting.done()
    clock.now = LEASE_SECONDS + 0.1
    await waiting
    lease = kube.objects["Lease", "own", "ftjob-operator"]
    assert lease["spec"]["holderIdentity"] == "second"
    assert lease["spec"]["leaseTransitions"] == 1


async def test_a_renewed_lease_is_not_taken() -> None:
    kube, clock = FakeKube(), Clock()
    first = holder(kube, clock, "first")
    await first.acquire()
    waiting = asyncio.create_task(holder(kube, clock, "second").acquire())
    await turns()
    for _ in range(5):
        clock.now += LEASE_SECONDS / 2
        await first._renew()
        await turns()
    assert not waiting.done()
    waiting.cancel()


async def test_a_released_lease_is_taken_at_once() -> None:
    kube, clock = FakeKube(), Clock()
    first = holder(kube, clock, "first")
    await first.acquire()
    await first.release()
    await holder(kube, clock, "second").acquire()
    assert kube.objects["Lease", "own", "ftjob-operator"]["spec"]["holderIdentity"] == "second"


async def test_who_did_not_renew_in_time_leaves_before_its_next_write() -> None:
    kube, clock = FakeKube(), Clock()
    first = holder(kube, clock, "first")
    await first.acquire()
    clock.now = RENEW_SECONDS
    first.check()
    clock.now = RENEW_SECONDS + 0.1
    with pytest.raises(LeftError):
        first.check()


async def test_who_finds_the_lease_taken_leaves() -> None:
    kube, clock = FakeKube(), Clock()
    first = holder(kube, clock, "first")
    await first.acquire()
    lease = kube.objects["Lease", "own", "ftjob-operator"]
    kube.put({**lease, "spec": {**lease["spec"], "holderIdentity": "second"}})
    with pytest.raises(LeftError):
        await first.keep()


async def test_an_api_server_that_is_away_for_a_moment_is_survived() -> None:
    kube, clock = FakeKube(), Clock()
    first = holder(kube, clock, "first")
    await first.acquire()
    kube.refusals["ftjob-operator"] = UnavailableError(503, "ServiceUnavailable", "starting")
    keeping = asyncio.create_task(first.keep())
    await turns()
    assert not keeping.done()
    clock.now = RENEW_SECONDS + 0.1
    with pytest.raises(LeftError):
        await keeping


async def test_a_renewal_whose_answer_was_lost_is_still_ours() -> None:
    kube, clock = FakeKube(), Clock()
    first = holder(kube, clock, "first")
    await first.acquire()
    kube.put(kube.objects["Lease", "own", "ftjob-operator"])
    await first._renew()
    await first._renew()
    assert kube.objects["Lease", "own", "ftjob-operator"]["spec"]["holderIdentity"] == "first"
