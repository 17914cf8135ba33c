"""Carrying plans out: what is done in which order, and what each refusal means."""

from typing import Any

import pytest
from support.control_fake import context, owner, pod_body

from ftjob.control.apply import apply
from ftjob.kube.errors import ApiError, ConflictError, ForbiddenError, InvalidError, UnavailableError
from ftjob.kube.resources import POD
from ftjob.plan.observed.state import RefusalKind
from ftjob.plan.plan import Changes, ForCollector, NewObject, Plan, PodRef, Step

KEY = ("default", "digits")
LABELS = {"ftjob.dev/job": "digits", "ftjob.dev/uid": "job-1"}
OURS, EARLIERS, ANOTHERS = [owner()], [owner("job-0")], [owner("job-0", "other")]


def thing(kind: str, name: str, labels: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "labels": labels or LABELS, **meta},
    }


def start(*manifests: dict[str, Any]) -> Plan:
    return Plan(Step.START, changes=Changes(create=tuple(map(NewObject.of, manifests))))


PODS = [pod_body(index) for index in range(4)]


async def test_support_comes_first_then_the_first_pod_then_the_others() -> None:
    ctx, kube, job = context()
    await apply(
        job, start(thing("Secret", "s"), thing("Service", "digits", ownerReferences=OURS), *PODS), ctx
    )
    assert kube.calls[:3] == [
        ("create", "Secret", "s"),
        ("create", "Service", "digits"),
        ("create", "Pod", "digits-worker-0-0"),
    ]
    assert len(kube.calls) == 6
    observed = ctx.cache.observe(job)
    assert [pod.index for pod in observed.pods] == [0, 1, 2, 3]
    assert observed.existing == {("Secret", "s"), ("Service", "digits")}
    assert observed.refusal is None


async def test_a_config_map_that_is_there_is_there_for_all_jobs_of_the_namespace_for_a_while() -> None:
    ctx, kube, job = context()
    agent = thing("ConfigMap", "agent")
    kube.put(agent)
    await apply(job, start(agent, *PODS), ctx)
    assert ("get", "ConfigMap", "agent") not in kube.calls, "it may not be read"
    assert ctx.cache.observe(job).refusal is None
    assert ctx.cache.shared.of("default") == {("ConfigMap", "agent")}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidError(400, "BadRequest", "unknown field"), RefusalKind.INVALID),
        (InvalidError(422, "Invalid", "bad image"), RefusalKind.INVALID),
        (ForbiddenError(403, "Forbidden", "exceeded quota"), RefusalKind.FORBIDDEN),
    ],
)
async def test_a_refusal_of_the_first_pod_stops_the_rest_and_is_remembered(
    error: ApiError, kind: RefusalKind
) -> None:
    ctx, kube, job = context()
    kube.refusals["digits-worker-0-0"] = error
    await apply(job, start(*PODS), ctx)
    assert len(kube.calls) == 1
    refusal = ctx.cache.observe(job).refusal
    assert refusal is not None
    assert (refusal.kind, refusal.object_kind, refusal.object_name) == (kind, "Pod", "digits-worker-0-0")
    assert refusal.message == error.message
    assert await ctx.queue.get() == KEY  # planned again at once


async def test_the_time_of_the_next_try_doubles_up_to_a_minute_and_success_ends_it() -> None:
    ctx, kube, job = context()
    kube.refusals["digits-worker-0-0"] = ForbiddenError(403, "Forbidden", "exceeded quota")
    waits = []
    for _ in range(8):
        await apply(job, start(*PODS), ctx)
        refusal = ctx.cache.observe(job).refusal
        assert refusal is not None
        waits.append(refusal.retry_at - 1000.0)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    kube.refusals.clear()
    await apply(job, start(*PODS), ctx)
    assert ctx.cache.observe(job).refusal is None
    assert ctx.cache.refusals.times(job) == 0


async def test_an_object_that_is_ours_already_is_taken_in() -> None:
    ctx, kube, job = context()
    kube.put(PODS[0])
    kube.put(thing("Service", "digits", ownerReferences=OURS))
    await apply(job, start(thing("Service", "digits", ownerReferences=OURS), *PODS), ctx)
    observed = ctx.cache.observe(job)
    assert observed.refusal is None
    assert len(observed.pods) == 4
    assert ("Service", "digits") in observed.existing


async def test_a_secret_of_our_name_is_ours_without_being_read() -> None:
    ctx, kube, job = context()
    kube.put(thing("Secret", "digits-job-1-agent", {}))
    await apply(job, start(thing("Secret", "digits-job-1-agent")), ctx)
    assert [verb for verb, _, _ in kube.calls] == ["create"]
    assert ("Secret", "digits-job-1-agent") in ctx.cache.observe(job).existing


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (thing("Service", "digits", {"app": "other"}), RefusalKind.CONFLICT),
        (thing("Service", "digits"), RefusalKind.CONFLICT),
        (thing("Service", "digits", ownerReferences=ANOTHERS), RefusalKind.CONFLICT),
        (thing("Service", "digits", ownerReferences=EARLIERS), RefusalKind.TERMINATING),
        (thing("Service", "digits", ownerReferences=OURS, deletionTimestamp="t"), RefusalKind.TERMINATING),
        (thing("PersistentVolumeClaim", "out", ownerReferences=EARLIERS), RefusalKind.TERMINATING),
        (thing("PersistentVolumeClaim", "out"), None),
        (thing("PersistentVolumeClaim", "out", {"app": "other"}), RefusalKind.CONFLICT),
    ],
)
async def test_a_name_that_is_taken_says_whose_it_is(found: dict[str, Any], kind: RefusalKind | None) -> None:
    ctx, kube, job = context()
    before = kube.put(found)
    await apply(job, start(thing(found["kind"], found["metadata"]["name"])), ctx)
    refusal = ctx.cache.observe(job).refusal
    assert (refusal.kind if refusal else None) is kind
    assert kube.put(found)["metadata"]["uid"] != before["metadata"]["uid"]
    assert [verb for verb, _, _ in kube.calls] == ["create", "get"]


async def test_a_conflict_about_a_quotas_version_is_tried_again() -> None:
    ctx, kube, job = context()
    kube.refusals["digits-worker-0-0"] = ConflictError(409, "Conflict", "the quota was modified")
    with pytest.raises(ConflictError):
        await apply(job, start(*PODS), ctx)
    assert ctx.cache.observe(job).refusal is None


async def test_an_error_of_one_pod_loses_no_answer_about_the_others() -> None:
    ctx, kube, job = context()
    kube.refusals["digits-worker-0-2"] = UnavailableError(503, "ServiceUnavailable", "starting")
    with pytest.raises(UnavailableError):
        await apply(job, start(*PODS), ctx)
    assert [pod.index for pod in ctx.cache.observe(job).pods] == [0, 1, 3]


async def test_pods_are_deleted_by_uid_and_leave_no_evidence() -> None:
    ctx, kube, job = context()
    for pod in PODS[:2]:
        ctx.cache.update(POD, kube.put(pod))
    replaced = kube.put({**PODS[1], "metadata": {**PODS[1]["metadata"], "uid": "another"}})
    refs = tuple(PodRef(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in PODS[:3])
    await apply(job, Plan(Step.CONTINUE, changes=Changes(delete=refs)), ctx)
    assert [name for kind, _, name in kube.objects if kind == "Pod"] == [replaced["metadata"]["name"]]
    ctx.cache.mark_deleted(POD, PODS[0] | {"metadata": PODS[0]["metadata"] | {"resourceVersion": "99"}})
    assert ctx.cache.observe(job).pods == ()


def report(about: str = "c7") -> dict[str, Any]:
    labels = {**LABELS, "ftjob.dev/collects": about}
    return thing("Pod", f"digits-job-1-report-{about}", labels, ownerReferences=OURS)


async def test_a_refused_collector_is_remembered_and_no_refusal_of_the_job() -> None:
    ctx, kube, job = context()
    kube.refusals["digits-job-1-report-c7"] = ForbiddenError(403, "Forbidden", "exceeded quota")
    await apply(job, Plan(Step.CONTINUE, collector=ForCollector(NewObject.of(report()))), ctx)
    seen = ctx.cache.observe(job)
    assert seen.refusal is None
    assert [(found.about, found.ended, found.why) for found in seen.collectors] == [
        ("c7", True, "exceeded quota")
    ]


async def test_a_collector_comes_and_goes_and_is_no_worker() -> None:
    ctx, kube, job = context()
    await apply(job, Plan(Step.CONTINUE, collector=ForCollector(NewObject.of(report()))), ctx)
    seen = ctx.cache.observe(job)
    assert seen.pods == ()
    (found,) = seen.collectors
    assert (found.about, found.name, found.ended) == ("c7", "digits-job-1-report-c7", False)
    gone = ForCollector(delete=(PodRef(found.name, found.uid),))
    await apply(job, Plan(Step.CONTINUE, collector=gone), ctx)
    assert ("delete", "Pod", found.name) in kube.calls
    ctx.cache.mark_gone(found.uid)
    assert ctx.cache.observe(job).collectors == ()


async def test_a_pod_with_a_collectors_label_and_another_name_is_a_stranger() -> None:
    ctx, _, job = context()
    body = report()
    body["metadata"] |= {"name": "digits-report", "uid": "u-9", "resourceVersion": "9"}
    assert ctx.cache.update(POD, body) is None
    assert ctx.cache.observe(job).collectors == ()
