"""Workloads of others: how one becomes a job's own; and jobs of which nothing but the Workload is here."""

import copy
from typing import Any

import pytest
from support.control_fake import FakeKube, context, job_body

from ftjob.control.context import Context
from ftjob.control.reconcile import reconcile
from ftjob.kube.errors import ConflictError
from ftjob.kube.resources import JOB, WORKLOADS
from ftjob.models.names import KUEUE_LABEL, KUEUE_PREBUILT, MULTIKUEUE, WORKLOAD

KEY = ("default", "digits")
RESOURCE = WORKLOADS[0]
NAME = "digits-of-elsewhere"
ELSEWHERE = {"ftjob.dev/job": "digits", "ftjob.dev/uid": "uid-elsewhere"}
LABELS = {KUEUE_LABEL: "team-a"}
WAITING = {
    "conditions": [{"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "full"}]
}


def workload(labels: dict[str, str], **fields: Any) -> dict[str, Any]:
    containers = [{"name": "trainer", "image": "x"}]
    pods = {"name": "worker", "count": 2, "template": {"spec": {"containers": containers}}}
    return {
        "apiVersion": RESOURCE.api_version,
        "kind": WORKLOAD,
        "metadata": {"name": NAME, "namespace": "default", "labels": labels},
        "spec": {"queueName": "team-a", "podSets": [pods]},
        **fields,
    }


def job(**spec: Any) -> dict[str, Any]:
    body = job_body()
    body["metadata"] |= {"labels": LABELS}
    body["spec"] |= spec
    return body


def sent() -> dict[str, Any]:
    body = job()
    body["metadata"]["annotations"] = {KUEUE_PREBUILT: NAME}
    return body


def operator(body: dict[str, Any]) -> tuple[Context, FakeKube]:
    ctx, kube, _ = context(body)
    ctx.cache.served = frozenset({(RESOURCE.api_version, WORKLOAD)})
    return ctx, kube


async def until_at_rest(ctx: Context) -> float | None:
    """Look at the job until nothing is left to do at once."""
    for _ in range(10):
        wait = await reconcile(KEY, ctx)
        if wait != 0.0:
            return wait
    raise AssertionError("it goes on for ever")


def said(ctx: Context) -> str:
    known = ctx.cache.job(KEY)
    assert known is not None
    return known.status.conditions[0].message


@pytest.mark.parametrize("labels", [ELSEWHERE, {}], ids=["copied by MultiKueue", "by whom we don't know"])
async def test_a_workload_of_someone_else_becomes_the_job_s_own(labels: dict[str, str]) -> None:
    ctx, kube = operator(sent())
    raw = kube.put(workload(labels, status=WAITING))
    if labels:  # so the watch brings it, as another job's
        assert ctx.cache.update(RESOURCE, copy.deepcopy(raw)) == KEY
    assert await until_at_rest(ctx) is None
    assert [call for call in kube.calls if call[0] == "patch_metadata"] == [
        ("patch_metadata", WORKLOAD, NAME)
    ]
    meta = kube.objects[WORKLOAD, "default", NAME]["metadata"]
    assert meta["labels"]["ftjob.dev/uid"] == "job-1"
    assert [owner["uid"] for owner in meta["ownerReferences"]] == ["job-1"]
    assert said(ctx) == "waits in Kueue's queue team-a: full"
    assert set(ctx.cache._dependents) == {("default", "job-1")}, "its labels count for nothing"
    kube.calls.clear()
    assert await reconcile(KEY, ctx) is None
    assert kube.calls == [], "then there is nothing more to do"
    gone = copy.deepcopy(kube.objects[WORKLOAD, "default", NAME])
    assert ctx.cache.mark_deleted(RESOURCE, gone) == KEY


async def test_one_that_comes_later_is_read_at_once_if_it_has_the_labels_of_a_copy() -> None:
    ctx, kube = operator(sent())
    assert await until_at_rest(ctx) == pytest.approx(10.0)
    assert said(ctx).endswith(f"there is no Workload {NAME}")
    kube.calls.clear()
    assert await reconcile(KEY, ctx) == pytest.approx(10.0)
    assert kube.calls == [], "it does not ask again so soon"
    raw = kube.put(workload(ELSEWHERE, status=WAITING))
    assert ctx.cache.update(RESOURCE, raw) == KEY
    assert await until_at_rest(ctx) is None
    assert ("patch_metadata", WORKLOAD, NAME) in kube.calls


async def test_one_that_has_changed_since_it_was_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx, kube = operator(sent())
    kube.put(workload(ELSEWHERE, status=WAITING))
    patch = kube.patch_metadata
    refused: list[Any] = []

    async def refuse_once(*args: Any, **more: Any) -> Any:
        if not refused:
            refused.append(args)
            raise ConflictError(409, "Conflict", "it has changed")
        return await patch(*args, **more)

    monkeypatch.setattr(kube, "patch_metadata", refuse_once)
    assert await until_at_rest(ctx) is None
    assert [verb for verb, kind, _ in kube.calls if kind == WORKLOAD] == ["get", "get", "patch_metadata"]


async def test_of_a_job_that_runs_elsewhere_only_the_workload_is_made() -> None:
    ctx, kube = operator(job(managedBy=MULTIKUEUE))
    assert await until_at_rest(ctx) is None
    assert kube.calls == [("create", WORKLOAD, "digits-job-1")]
    kube.calls.clear()
    assert await reconcile(KEY, ctx) is None
    assert kube.calls == []


async def test_a_job_that_runs_elsewhere_follows_its_edits() -> None:
    ctx, kube = operator(job(managedBy=MULTIKUEUE))
    await until_at_rest(ctx)
    edited = kube.put(job(managedBy=MULTIKUEUE, workers=3))
    assert ctx.cache.update(JOB, edited) == KEY
    kube.calls.clear()
    await until_at_rest(ctx)
    assert await ctx.queue.get() == KEY, "the event of a deletion of our own is no news"
    await until_at_rest(ctx)
    assert kube.calls == [("delete", WORKLOAD, "digits-job-1"), ("create", WORKLOAD, "digits-job-1")]


async def test_what_is_wrong_with_a_job_that_runs_elsewhere_is_told_by_an_event() -> None:
    ctx, kube = operator(job(managedBy=MULTIKUEUE))
    ctx.cache.served = frozenset()
    assert await until_at_rest(ctx) is None
    assert kube.calls == []
    assert ctx.events._backlog.get_nowait()["reason"] == "NoKueue"


@pytest.mark.parametrize("labels", [{}, LABELS])
async def test_a_job_of_another_controller_is_left_alone(labels: dict[str, str]) -> None:
    body = job(managedBy=MULTIKUEUE if not labels else "example.com/other")
    body["metadata"]["labels"] = labels
    ctx, kube = operator(body)
    assert await until_at_rest(ctx) is None
    assert kube.calls == []
