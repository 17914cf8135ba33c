"""Jobs that a newer operator has run before this one: upgrade, downgrade, upgrade."""

from typing import Any

import pytest
from support.control_fake import FakeKube, context_of, job_body, pod_body

from ftjob.control.cache.cache import Cache
from ftjob.control.context import Context
from ftjob.control.follow_agents import is_followed
from ftjob.control.reconcile import reconcile
from ftjob.kube.resources import JOB, POD, WORKLOADS
from ftjob.models.names import KUEUE_LABEL, MULTIKUEUE, WORKLOAD

KEY = ("default", "digits")
SINCE = "2026-01-01T00:00:05Z"
NOW = 1767225700.0
RUNNING = {
    "observedGeneration": 1,
    "phase": "Running",
    "attempt": 1,
    "podAttempt": 1,
    "startTime": "2026-01-01T00:00:01Z",
    "attemptTime": "2026-01-01T00:00:02Z",
    "runningTime": SINCE,
}


def condition(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "New", "lastTransitionTime": SINCE, **fields}


NOT_UNDERSTOOD = {
    "phase": {"phase": "Migrating"},
    "gang": {"gang": "Slurm"},
    "conditions[0].type": {"conditions": [condition("Migrated")]},
    "conditions[1].status": {"conditions": [condition("Running"), condition("Admitted", status=2)]},
    "startTime": {"startTime": "yesterday"},
    "attemptTime": {"attemptTime": "0001-01-01T00:00:00"},
    "roles[0].succeededIndexes": {"roles": [{"name": "worker", "desired": 2, "succeededIndexes": "all"}]},
    "attempt": {"attempt": {"number": 1}},
    "restarts": {"restarts": [1]},
}


def operator(kube: FakeKube) -> Context:
    """Return an operator that has just started: it knows what the API server does."""
    cache = Cache()
    cache.served = frozenset({(WORKLOADS[0].api_version, WORKLOAD)})
    for (kind, _, _), body in kube.objects.items():
        if kind in {JOB.kind, POD.kind}:
            cache.update(JOB if kind == JOB.kind else POD, body)
    kube.calls.clear()
    return context_of(kube, cache, clock=lambda: NOW)


def cluster(job: dict[str, Any]) -> FakeKube:
    """Return an API server with a job whose two workers run."""
    kube = FakeKube()
    kube.put(job)
    for index in range(2):
        kube.put(pod_body(index, attempt=1, state={"running": {}}))
    return kube


def notes(ctx: Context) -> list[tuple[str, str, str]]:
    found = []
    while not ctx.events._backlog.empty():
        event = ctx.events._backlog.get_nowait()
        found.append((event["type"], event["reason"], event["note"]))
    return found


@pytest.mark.parametrize("field", NOT_UNDERSTOOD)
async def test_upgrade_downgrade_upgrade_deletes_no_pod_of_a_running_job(field: str) -> None:
    kube = cluster(job_body(status=RUNNING))
    await reconcile(KEY, operator(kube))
    assert POD.kind not in {kind for _, kind, _ in kube.calls}
    understood = kube.objects[JOB.kind, *KEY]
    kube.put({**understood, "status": understood["status"] | NOT_UNDERSTOOD[field]})

    older = operator(kube)
    for _ in range(3):
        assert await reconcile(KEY, older) is None
    assert kube.calls == []
    ((kind, reason, note),) = notes(older)
    assert (kind, reason) == ("Warning", "NewerVersion")
    assert note.startswith(f"status.{field}: ")
    assert "upgrade the operator" in note
    job = older.cache.job(KEY)
    assert job is not None
    assert not is_followed(job)
    assert b'ftjob_jobs{phase="Pending"} 0' in text_of_metrics(older)

    kube.put({**kube.objects[JOB.kind, *KEY], "status": understood["status"]})
    newer = operator(kube)
    await reconcile(KEY, newer)
    assert POD.kind not in {kind for _, kind, _ in kube.calls}
    assert notes(newer) == []


def text_of_metrics(ctx: Context) -> bytes:
    ctx.metrics.watch(ctx.cache, ctx.queue)
    return ctx.metrics.text()


@pytest.mark.parametrize("status", ["Running", [RUNNING], 7])
async def test_a_status_that_is_none_at_all_costs_no_pod(status: Any) -> None:
    kube = cluster(job_body(status=status))
    ctx = operator(kube)
    assert await reconcile(KEY, ctx) is None
    assert kube.calls == []
    assert [reason for _, reason, _ in notes(ctx)] == ["NewerVersion"]


async def test_fields_of_a_newer_status_are_kept_and_the_job_is_looked_after() -> None:
    new = {"migration": {"node": "a", "at": [1]}, "restarts": {"failures": 1, "migrations": 3}}
    kube = cluster(job_body(status=RUNNING | new))
    ctx = operator(kube)
    await reconcile(KEY, ctx)
    assert [call[0] for call in kube.calls if call[1] == JOB.kind] == ["patch_status"]
    status = kube.objects[JOB.kind, *KEY]["status"]
    assert (status["phase"], status["migration"]) == ("Running", new["migration"])
    assert status["restarts"] == {"failures": 1, "migrations": 3, "disruptions": 0}


async def test_fields_of_a_newer_operator_stay_in_entries_of_lists_that_are_written_anew() -> None:
    lists = {
        "conditions": [condition("Running", status="False", evidence={"pods": [0]}), condition("Admitted")],
        "roles": [{"name": "worker", "desired": 2, "draining": 1}],
    }
    kube = cluster(job_body(status=RUNNING | lists))
    await reconcile(KEY, operator(kube))
    status = kube.objects[JOB.kind, *KEY]["status"]
    running = next(found for found in status["conditions"] if found["type"] == "Running")
    assert (running["status"], running["evidence"]) == ("True", {"pods": [0]})
    (role,) = status["roles"]
    assert (role["ready"], role["draining"]) == (2, 1)


async def test_a_spec_that_a_newer_operator_has_started_costs_no_pod() -> None:
    job = job_body(status=RUNNING)
    job["spec"]["strategy"] = "Telepathy"
    kube = cluster(job)
    ctx = operator(kube)
    assert await reconcile(KEY, ctx) is None
    assert kube.calls == []
    ((_, reason, note),) = notes(ctx)
    assert reason == "NewerVersion"
    assert note.startswith("spec.strategy: ")


async def test_a_spec_that_nobody_has_started_is_refused() -> None:
    job = job_body()
    job["spec"]["strategy"] = "Telepathy"
    kube = FakeKube()
    kube.put(job)
    await reconcile(KEY, operator(kube))
    assert kube.objects[JOB.kind, *KEY]["status"]["phase"] == "Failed"


@pytest.mark.parametrize("change", [{"status": RUNNING | {"phase": "Migrating"}}, {"strategy": "Telepathy"}])
async def test_a_job_of_another_cluster_keeps_its_workload(change: dict[str, Any]) -> None:
    """A newer operator runs it there, and Kueue copies its status: the Workload's end would be its end."""
    job = job_body(status=RUNNING)
    job["metadata"]["labels"] = {KUEUE_LABEL: "team-a"}
    job["spec"]["managedBy"] = MULTIKUEUE
    kube = FakeKube()
    kube.put(job)
    older = operator(kube)
    await reconcile(KEY, older)
    (workload,) = (body for (kind, _, _), body in kube.objects.items() if kind == WORKLOAD)
    if "strategy" in change:
        job["spec"] |= change
    kube.put({**job, **({} if "strategy" in change else change)})
    older = operator(kube)
    older.cache.update(WORKLOADS[0], workload)
    assert await reconcile(KEY, older) is None
    assert kube.calls == []
    assert [reason for _, reason, _ in notes(older)] == ["NewerVersion"]


async def test_such_a_job_can_be_deleted() -> None:
    """Its pods follow by their owner references; the operator has no part in it."""
    kube = cluster(job_body(status=RUNNING | {"phase": "Migrating"}))
    ctx = operator(kube)
    body = kube.objects[JOB.kind, *KEY]
    ctx.cache.update(JOB, kube.put({**body, "metadata": body["metadata"] | {"deletionTimestamp": SINCE}}))
    assert await reconcile(KEY, ctx) is None
    assert notes(ctx) == []
