"""The cache: newest version of everything, evidence of what is gone, nothing of what no longer matters."""

import pickle
from typing import Any

import pytest
from support.control_fake import Clock, job_body, owner, pod_body

from ftjob.api.job import Job
from ftjob.control.cache.cache import Cache
from ftjob.control.cache.pods import trainer_name
from ftjob.control.cache.versions import is_newer
from ftjob.kube.resources import JOB, POD, SERVICE
from ftjob.plan.observed.state import Refusal, RefusalKind
from ftjob_protocol.leader_state import LeaderState

KEY = ("default", "digits")
RUNNING: dict[str, Any] = {"running": {}}
FAILED = {"terminated": {"exitCode": 1}}


def cache_with_job() -> tuple[Cache, Clock]:
    clock = Clock(100.0)
    cache = Cache(clock=clock)
    assert cache.update(JOB, job_body(status={"startTime": "2026-01-01T00:00:00Z"})) == KEY
    return cache, clock


def refusal() -> Refusal:
    return Refusal(RefusalKind.FORBIDDEN, "Pod", "digits-worker-0-0", "exceeded quota", 0.0)


def names(cache: Cache, *, gone: bool = False) -> list[str]:
    job = cache.job(KEY)
    assert job is not None
    return [pod.name for pod in cache.observe(job).pods if pod.gone is gone]


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("2", None, True),
        ("10", "9", True),
        ("9", "10", False),
        ("9", "9", False),
        ("b", "a", True),
        ("a", "a", False),
    ],
)
def test_versions_are_compared_as_numbers_and_else_by_arrival(
    version: str, than: str | None, newer: bool
) -> None:
    assert is_newer(version, than) is newer


def test_an_older_version_does_not_replace_a_newer_one() -> None:
    cache, _ = cache_with_job()
    assert cache.update(POD, pod_body(0, version="20", state=RUNNING)) == KEY
    assert cache.update(POD, pod_body(0, version="15")) is None
    job = cache.job(KEY)
    assert job is not None
    assert cache.observe(job).pods[0].running


def test_an_echo_of_our_own_write_is_no_news() -> None:
    cache, _ = cache_with_job()
    assert cache.update(JOB, job_body()) is None
    assert cache.update(POD, pod_body(0)) == KEY
    assert cache.update(POD, pod_body(0)) is None


def test_where_a_pod_runs_is_remembered_but_is_no_reason_to_look() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0, version="10"))
    moved = pod_body(0, version="11", podIP="10.1.1.1")
    moved["spec"]["nodeName"] = "node-1"
    assert cache.update(POD, moved) is None
    job = cache.job(KEY)
    assert job is not None
    (pod,) = cache.observe(job).pods
    assert (pod.node, pod.ip) == ("node-1", "10.1.1.1")


def test_the_time_of_an_end_is_when_it_was_first_seen() -> None:
    cache, clock = cache_with_job()
    cache.update(POD, pod_body(0, version="10", state=FAILED))
    clock.now = 200.0
    cache.update(POD, pod_body(0, version="11", state=FAILED, phase="Failed"))
    job = cache.job(KEY)
    assert job is not None
    (pod,) = cache.observe(job).pods
    assert pod.terminated is not None
    assert pod.terminated.seen == 100.0


def test_a_pod_is_lost_from_when_that_was_first_seen_and_not_from_its_deletion() -> None:
    cache, clock = cache_with_job()
    lost = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    for now, conditions in ((100.0, []), (150.0, [lost]), (200.0, [lost])):
        clock.now = now
        body = pod_body(0, version=str(int(now)), state=RUNNING, conditions=conditions)
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        cache.update(POD, body)
    job = cache.job(KEY)
    assert job is not None
    (pod,) = cache.observe(job).pods
    assert (pod.deleting_seen, pod.lost_seen) == (100.0, 150.0)


def test_a_deleted_pod_stays_as_evidence_until_the_attempt_changes() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0))
    assert cache.mark_deleted(POD, pod_body(0, version="12", state=FAILED)) == KEY
    assert names(cache, gone=True) == ["digits-worker-0-0"]
    cache.update(JOB, job_body(version="13", status={"attempt": 1, "podAttempt": 1}))
    assert names(cache, gone=True) == []


def test_a_pod_that_we_deleted_is_no_evidence() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0))
    cache.note_ordered_deletion("pod-0-0")
    assert cache.mark_deleted(POD, pod_body(0, version="12")) == KEY
    assert names(cache) == names(cache, gone=True) == []


def test_a_late_answer_does_not_bring_a_deleted_object_back() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0))
    cache.mark_deleted(POD, pod_body(0, version="12"))
    assert cache.update(POD, pod_body(0, version="11")) is None
    assert names(cache) == []
    cache.mark_deleted(JOB, job_body(version="20"))
    assert cache.update(JOB, job_body(version="19")) is None
    assert cache.job(KEY) is None


def test_pods_of_an_earlier_job_of_the_name_are_predecessors_until_they_are_gone() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0))
    cache.mark_deleted(JOB, job_body())
    cache.update(JOB, job_body(uid="job-2", version="30"))
    job = cache.job(KEY)
    assert job is not None
    assert cache.observe(job).predecessors == ("digits-worker-0-0",)
    assert cache.observe(job).pods == ()
    assert cache.mark_deleted(POD, pod_body(0, version="31")) == KEY
    assert cache.observe(job).predecessors == ()


def test_a_job_that_replaces_another_unseen_is_another_job() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0))
    cache.update(JOB, job_body(uid="job-2", version="30"))
    job = cache.job(KEY)
    assert job is not None
    assert (job.uid, cache.observe(job).predecessors) == ("job-2", ("digits-worker-0-0",))


def test_pods_may_be_seen_before_their_job() -> None:
    cache = Cache()
    cache.update(POD, pod_body(0, state=RUNNING))
    cache.update(JOB, job_body())
    assert names(cache) == ["digits-worker-0-0"]


def test_objects_come_and_go() -> None:
    cache, _ = cache_with_job()
    service = pod_body(0, uid="svc") | {"kind": "Service"}
    service["metadata"]["name"] = "digits"
    job = cache.job(KEY)
    assert job is not None
    assert cache.update(SERVICE, service) == KEY
    cache.note_existing(job, "Secret", "digits-agent")
    assert cache.observe(job).existing == {("Service", "digits"), ("Secret", "digits-agent")}
    assert cache.mark_gone("svc") == KEY
    assert cache.observe(job).existing == {("Secret", "digits-agent")}


def test_a_refusal_is_remembered_until_it_is_cleared_or_the_spec_changes() -> None:
    cache, _ = cache_with_job()
    job = cache.job(KEY)
    assert job is not None
    cache.note_refusal(job, refusal())
    cache.note_refusal(job, refusal())
    assert cache.observe(job).refusal == refusal()
    assert cache.refusals.times(job) == 2
    edited = job_body(version="5")
    edited["metadata"]["generation"] = 2
    cache.update(JOB, edited)
    assert cache.observe(job).refusal is None
    assert cache.refusals.times(job) == 0


def test_the_leader_s_state_is_news_only_if_it_differs() -> None:
    cache, _ = cache_with_job()
    job = cache.job(KEY)
    assert job is not None
    assert cache.hear(job, LeaderState(0, "Running", {"step": 1}))
    assert not cache.hear(job, LeaderState(0, "Running", {"step": 1}))
    assert cache.hear(job, LeaderState(0, "Running", {"step": 2}))


def test_nothing_is_left_of_a_job_that_is_gone_with_its_pods() -> None:
    cache, _ = cache_with_job()
    for index in range(3):
        cache.update(POD, pod_body(index))
    job = cache.job(KEY)
    assert job is not None
    cache.note_refusal(job, refusal())
    cache.hear(job, LeaderState(0, "Running", None))
    cache.mark_deleted(POD, pod_body(0, version="20"))
    cache.mark_deleted(JOB, job_body())
    for index in (1, 2):
        cache.mark_deleted(POD, pod_body(index, version="20"))
    assert what_is_left(cache) == {}


def what_is_left(cache: Cache) -> dict[str, Any]:
    """Return what the cache holds, but for the tombstones."""
    parts = (cache, cache._jobs, cache.refusals, cache.leader_states, cache.answers, cache._versions)
    held = {f"{type(part).__name__}.{name}": value for part in parts for name, value in vars(part).items()}
    found = {name: value for name, value in held.items() if isinstance(value, dict | set) and value}
    found.pop("Versions._deleted", None)
    return found


def test_nothing_comes_back_of_a_job_that_went_while_it_was_asked_and_looked_at() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0, state=RUNNING))
    job = cache.job(KEY)
    assert job is not None
    cache.mark_deleted(JOB, job_body(version="20"))
    cache.mark_deleted(POD, pod_body(0, version="21"))
    assert cache.observe(job).pods == ()
    assert not cache.hear(job, LeaderState(0, "Running", None))
    cache.note_refusal(job, refusal())
    cache.note_existing(job, "Secret", "digits-agent")
    cache.note_ordered_deletion("pod-0-0")
    assert cache.update(POD, pod_body(0, version="19")) is None
    assert what_is_left(cache) == {}


STRANGERS: dict[str, dict[str, Any]] = {
    "labels and no owner": {"ownerReferences": None},
    "an owner that is no controller": {"ownerReferences": [owner() | {"controller": False}]},
    "an owner of another kind": {"ownerReferences": [owner() | {"kind": "Job", "apiVersion": "batch/v1"}]},
    "an owner of another group": {"ownerReferences": [owner() | {"apiVersion": "evil.dev/v1"}]},
    "another namespace": {"namespace": "evil"},
    "another name": {"name": "evil"},
    "the name of another place": {"name": "digits-worker-0-1"},
    "an attempt to come": {"labels": pod_body(0, attempt=999)["metadata"]["labels"]},
    "no number": {"labels": pod_body(0)["metadata"]["labels"] | {"ftjob.dev/index": "-0"}},
}


@pytest.mark.parametrize("change", STRANGERS.values(), ids=STRANGERS)
def test_a_pod_belongs_to_a_job_by_its_owner_its_namespace_and_its_planned_name(
    change: dict[str, Any],
) -> None:
    cache, _ = cache_with_job()
    pod = pod_body(0, state=FAILED)
    pod["metadata"] |= change
    cache.update(POD, pod)
    assert names(cache) == []
    cache.mark_deleted(JOB, job_body(version="20"))
    cache.update(JOB, job_body(uid="job-2", version="30"))
    job = cache.job(KEY)
    assert job is not None
    assert cache.observe(job).predecessors == (), "it blocks no name"


def test_a_pod_that_is_disowned_is_gone() -> None:
    cache, _ = cache_with_job()
    cache.update(POD, pod_body(0, state=RUNNING))
    pod = pod_body(0, version="11", state=RUNNING)
    del pod["metadata"]["ownerReferences"]
    assert cache.update(POD, pod) == KEY
    assert (names(cache), names(cache, gone=True)) == ([], ["digits-worker-0-0"])


def test_a_replaced_worker_of_an_elastic_job_has_its_number_in_the_name() -> None:
    cache, _ = cache_with_job()
    pod = pod_body(0)
    pod["metadata"]["name"] += "-2"
    assert cache.update(POD, pod) == KEY


def test_the_trainer_is_the_container_with_the_agents_variable() -> None:
    assert trainer_name(pod_body(0)) == "main"
    assert trainer_name({"spec": {"containers": [{"name": "only"}]}}) == "only"


def large(**more: Any) -> dict[str, Any]:
    body = job_body(**more)
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 200_000}
    body["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = [{}] * 80_000
    return body


def test_a_large_job_without_work_is_small_and_whole_when_it_is_asked_for() -> None:
    cache = Cache()
    cache.update(JOB, large())
    whole = cache.job(KEY)
    assert isinstance(whole, Job)
    for version, phase in enumerate(("Suspended", "Queued", "Succeeded", "Failed"), start=2):
        cache.update(JOB, large(version=str(version), status={"phase": phase}))
        job = cache.job(KEY)
        assert isinstance(job, Job)
        assert (job.spec, job.status.phase) == (whole.spec, phase)
        assert job.annotations == {}
        assert len(pickle.dumps(cache._jobs)) < 10_000
        assert [head.status.phase for head in cache.jobs()] == [phase]


def test_a_large_job_at_work_is_not_unpacked_at_each_look() -> None:
    cache = Cache()
    cache.update(JOB, large(status={"phase": "Running"}))
    assert cache.job(KEY) is cache.job(KEY)
