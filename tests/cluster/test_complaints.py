"""What users of other training operators complain about most, and that it is not so here.

One test a complaint, in the order of docs/complaints.md; the jobs are in tests/support/complaints.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import ROOT, Cluster, conditions, operator_metrics, operator_requests, pods_of
from support.complaints import (
    LATE_SECONDS,
    LONGEST_NAME,
    RING,
    WORKERS_OF_VAST,
    Stories,
    small,
    told,
    trainer,
)
from support.scenario import restarts

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATED_ONCE = (("create", "services"), ("create", "secrets"), ("create", "podgroups"))
"""For each job of several workers, before its pods."""
TENSORFLOW = ("Mirrored", "MultiWorkerMirrored", "ParameterServer")


@pytest.fixture(scope="module")
def stories(frameworks: Cluster) -> Iterator[Stories]:
    with told(frameworks) as found:
        yield found


def test_one_failed_rank_restarts_the_whole_job_and_leaves_no_pod_hanging(stories: Stories) -> None:
    """One failed pod leaves the others hanging; there is no restart of the whole job.

    kubeflow/trainer #2269, #2000, #1579
    """
    rough = stories.rough.result()
    for rank, log in enumerate(rough.logs):
        begun = re.findall(rf"rank {rank} begins attempt (\d)", log)
        assert begun == ["0", "1", "2"], "each rank begins each attempt, also the one that had not failed"
    assert rough.ended["status"]["phase"] == "Failed"
    assert "gives up" not in rough.logs[0], "rank 0 would have gone on, but its pod was seen to end, too"


def test_ranks_wait_for_those_that_come_late(stories: Stories) -> None:
    """The launcher fails when it is faster than the workers' ssh servers or DNS names.

    kubeflow/mpi-operator #386, #481; awslabs/awsome-distributed-ai #1241
    """
    ring = stories.ring.result()
    begun = sorted(started(pod) for pod in ring.pods)
    assert begun[1] - begun[0] >= LATE_SECONDS, "one was really late"
    assert ring.ended["status"]["phase"] == "Succeeded", ring.ended["status"].get("failure")
    assert restarts(ring.ended) == (0, 0, 0)
    assert {said["patience"] for said in ring.said} == {600}, "seconds for ranks whose own start takes long"
    assert {status["restartCount"] for pod in ring.pods for status in pod["status"]["containerStatuses"]} == {
        0
    }


def started(pod: dict[str, Any]) -> float:
    """Return when a pod's trainer was started."""
    [found] = pod["status"]["containerStatuses"]
    state = found["state"]
    return datetime.fromisoformat((state.get("terminated") or state["running"])["startedAt"]).timestamp()


def test_ranks_reach_each_other_without_ssh_its_keys_or_root(stories: Stories, frameworks: Cluster) -> None:
    """ssh refuses the keys: their files have the wrong owner or mode.

    kubeflow/mpi-operator #424, #472
    """
    ring = stories.ring.result()
    assert [said["total"] for said in ring.said] == [11.0, 11.0]
    assert [said["found"] for said in ring.said] == [[], []], "the image has no ssh and no mpirun"
    assert {said["uid"] for said in ring.said} == {65532}
    for pod in ring.pods:
        assert not [volume for volume in pod["spec"]["volumes"] if "secret" in volume], "no keys"
        assert not any("token" in volume["name"] for volume in pod["spec"]["volumes"]), "no rights"
    mine = ("secrets", "-l", f"ftjob.dev/uid={ring.ended['metadata']['uid']}")
    [secret] = json.loads(frameworks.kubectl("get", *mine, "-o", "json"))["items"]
    assert (secret["type"], set(secret["data"])) == ("Opaque", {"token"})


def test_no_job_runs_on_one_node_and_reports_success_all_the_same(
    stories: Stories, frameworks: Cluster
) -> None:
    """Under Open MPI 5 all ranks run in the launcher's pod, and the job is Complete.

    kubeflow/trainer #4028
    """
    ring = stories.ring.result()
    assert [said["size"] for said in ring.said] == [2, 2]
    assert [said["total"] for said in ring.said] == [11.0, 11.0], "1 from rank 0 and 10 from rank 1"
    assert len({pod["spec"]["nodeName"] for pod in ring.pods}) == 2
    assert ring.ended["status"]["roles"][0]["succeededIndexes"] == "0-1", "each worker has to succeed"
    alone = small("alone", RING, strategy="Horovod", workers=2)
    trainer(alone)["env"] = [{"name": "HOROVOD_SIZE", "value": "1"}]
    with pytest.raises(AssertionError, match=r"HOROVOD_SIZE.*tells a rank who it is"):
        frameworks.apply(alone)


def test_the_status_says_pending_and_running(stories: Stories) -> None:
    """A TrainJob's status says neither Pending nor Running, nor that it runs after it was resumed.

    kubeflow/trainer #2713; kubeflow/sdk #803
    """
    waits = stories.waits.result()
    waits.phases.check()
    phases = waits.phases.phases
    assert (phases[0], phases[-3:]) == ("Suspended", ["Starting", "Running", "Succeeded"])
    assert "Pending" in phases
    admitted = conditions(waits.pending)["Admitted"]
    assert (admitted["status"], admitted["reason"]) == ("False", "CreationForbidden")
    assert "exceeded quota: no-short-lived-pods" in admitted["message"]
    assert conditions(waits.running)["Running"]["status"] == "True"
    assert waits.line.split()[:4] == ["waits", "Plain", "Running", "1/1"]
    starting = conditions(stories.gang.result().waiting)["Running"]
    assert (starting["status"], starting["reason"]) == ("False", "Unschedulable"), "why it is not running yet"


def test_a_time_to_live_deletes_a_job_and_all_it_owns_and_nothing_is_created_again(
    stories: Stories, frameworks: Cluster
) -> None:
    """What ttlSecondsAfterFinished has deleted is created again and runs again, or the TrainJob itself stays.

    kubeflow/trainer #3779, #2991, #4052
    """
    waits, brief = stories.waits.result(), stories.brief.result()
    assert waits.phases.phases[-1] == "Succeeded"
    assert brief.ended["status"]["phase"] == "Failed"
    assert waits.left == brief.left == "", "nothing is left, or has come again"
    requests = operator_requests(frameworks.namespace)
    for name in ("waits", "brief"):
        mine = of_job(requests, name)
        made = [entry for entry in mine if is_done(entry, "create")]
        counts = Counter((entry["objectRef"]["resource"], entry["objectRef"]["name"]) for entry in made)
        assert {resource for resource, _ in counts} >= {"pods", "services", "secrets"}
        assert set(counts.values()) == {1}
        [deleted] = [entry for entry in mine if is_done(entry, "delete") and of_jobs(entry)]
        assert all(entry["stageTimestamp"] < deleted["requestReceivedTimestamp"] for entry in made)


def is_done(entry: dict[str, Any], verb: str) -> bool:
    return bool(entry["verb"] == verb and entry["responseStatus"]["code"] < 300)


def of_jobs(entry: dict[str, Any]) -> bool:
    return bool(entry["objectRef"]["resource"] == "frameworktrainingjobs")


def test_requests_do_not_grow_with_workers_and_pods_are_created_side_by_side(
    stories: Stories, frameworks: Cluster
) -> None:
    """A hundred jobs, or a thousand pods, take minutes to be created.

    kubeflow/mpi-operator #674; kubeflow/trainer #1706, #2361, #2318
    """
    stories.vast.result()
    stories.rough.result()
    everything = operator_requests(frameworks.namespace)
    vast, rough = start_of(everything, "vast"), start_of(everything, "rough")
    assert vast.pop(("create", "pods")) == WORKERS_OF_VAST
    assert rough.pop(("create", "pods")) == 2
    assert vast == rough == {("patch", "frameworktrainingjobs"): 1} | dict.fromkeys(CREATED_ONCE, 1)
    assert not [entry for entry in everything if entry["verb"] in {"get", "list", "watch"}], "all is known"
    pods = [e for e in of_job(everything, "vast") if e["objectRef"]["resource"] == "pods"]
    assert at_once(pods) > 1, "one after the other"


def of_job(requests: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the requests about a job and what belongs to it, but for its Events."""
    mine = [entry for entry in requests if entry["objectRef"].get("name", "").startswith(name)]
    return [entry for entry in mine if entry["objectRef"]["resource"] != "events"]


def start_of(requests: list[dict[str, Any]], name: str) -> Counter[tuple[str, str]]:
    """Count the requests for a job by verb and resource, until all pods of its first attempt were created."""
    mine = of_job(requests, name)
    created = max(entry["stageTimestamp"] for entry in mine if is_pod_of(entry, f"{name}-worker-0-"))
    first = [entry for entry in mine if entry["requestReceivedTimestamp"] <= created]
    return Counter((entry["verb"], entry["objectRef"]["resource"]) for entry in first)


def is_pod_of(entry: dict[str, Any], prefix: str) -> bool:
    what = entry["objectRef"]
    return bool(what["resource"] == "pods" and entry["verb"] == "create" and what["name"].startswith(prefix))


def at_once(requests: list[dict[str, Any]]) -> int:
    """Return how many requests were in flight at the same time, at most."""
    edges = [(entry["requestReceivedTimestamp"], 1) for entry in requests]
    edges += [(entry["stageTimestamp"], -1) for entry in requests]
    return max(accumulate(step for _, step in sorted(edges)))


def test_an_eviction_leaves_no_worker_running_and_every_worker_is_replaced(stories: Stories) -> None:
    """After an eviction the job has failed, the other workers go on, and none is replaced.

    kubeflow/mpi-operator #647
    """
    rough = stories.rough.result()
    assert restarts(rough.evicted) == (1, 0, 1), "not counted against restart.limit"
    assert rough.evicted["status"]["phase"] == "Running"
    running = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in rough.pods}
    assert running == {f"rough-worker-1-{index}": "Running" for index in range(2)}


def test_the_exit_code_of_a_horovod_rank_decides_on_a_restart(stories: Stories) -> None:
    """The restart policy ExitCode does not exist for MPI.

    kubeflow/trainer #1768
    """
    rough = stories.rough.result()
    assert restarts(rough.killed) == (2, 1, 1), "137 is worth another attempt"
    assert restarts(rough.ended) == (2, 1, 1), "3 is not, though restart.limit is 3"
    assert rough.ended["status"]["failure"]["exitCode"] == 3
    assert "exit code 3 is not in restart.retryExitCodes" in conditions(rough.ended)["Failed"]["message"]


def test_an_elastic_job_gains_and_replaces_workers_without_a_restart(stories: Stories) -> None:
    """There are no elastic jobs any more, and none of Horovod (ours: tests/cluster/test_elastic.py).

    kubeflow/trainer #2903; kubeflow/mpi-operator #278, #444
    """
    elastic = stories.elastic.result()
    grown = elastic.sizes.index(2)
    assert elastic.sizes[:grown] == [1] * grown
    assert elastic.sizes[-1] == 2, "with the worker that has replaced the lost one"
    assert elastic.ended["status"]["phase"] == "Succeeded", elastic.ended["status"].get("failure")
    assert restarts(elastic.ended) == (0, 0, 0)
    assert elastic.ended["status"]["roles"][0]["succeededIndexes"] == "0-1"
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in elastic.pods}
    assert uids.keys() >= {"elastic-worker-0-0", "elastic-worker-0-1-1"}
    assert uids["elastic-worker-0-0"] == elastic.leader, "the same pod all the time"


def test_the_shortest_job_has_its_environment_and_ranks_keep_the_users(stories: Stories) -> None:
    """Without spec.trainer no variables are set, and those of the user don't reach the ranks under MPI.

    kubeflow/trainer #4076, #3427
    """
    environment = stories.shortest.result()
    wanted = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "PET_NNODES": "1", "PET_NPROC_PER_NODE": "1"}
    assert environment.items() >= wanted.items()
    assert {"MASTER_ADDR", "MASTER_PORT", "FTJOB_CHECKPOINT_DIR"} <= environment.keys()
    assert environment["GREETING"] == "hello"
    assert environment["PYTHONUNBUFFERED"] == "0", "the user's value wins"
    assert [said["greeting"] for said in stories.ring.result().said] == ["hello", "hello"]


def test_metrics_and_a_dashboard_tell_of_jobs(stories: Stories) -> None:
    """There are no metrics of jobs, and no dashboard.

    kubeflow/trainer #3429, #3430
    """
    stories.rough.result()
    assert stories.ring.result().ended["status"]["phase"] == "Succeeded"
    before, after = stories.metrics, operator_metrics()
    more = {name: value - before.get(name, 0) for name, value in after.items()}
    # At least what these jobs have done; other tests have theirs.
    assert after['ftjob_jobs{phase="Failed"}'] >= 1
    assert more['ftjob_jobs_finished_total{phase="Failed"}'] >= 1
    assert more['ftjob_jobs_finished_total{phase="Succeeded"}'] >= 1
    assert more["ftjob_attempts_total"] >= 4, "one of ring, three of rough"
    assert more['ftjob_restarts_total{cause="failure"}'] >= 1
    assert more['ftjob_restarts_total{cause="disruption"}'] >= 1
    assert more["ftjob_pods_created_total"] >= 6
    assert more["ftjob_job_to_running_seconds_count"] >= 2
    assert more["ftjob_job_to_running_seconds_sum"] > 0
    assert after["ftjob_leader"] == 1
    text = (ROOT / "charts" / "ftjob" / "files" / "dashboard.json").read_text()
    shown = set(re.findall(r"\bftjob_\w+", text))
    assert "ftjob_jobs" in shown
    assert shown <= {series.partition("{")[0] for series in after}


def test_what_a_crashed_rank_wrote_and_used_outlives_its_pod(stories: Stories, frameworks: Cluster) -> None:
    """Logs of crashed pods come back empty, and nobody sees what the devices did.

    kubeflow/mcp-server #42; kubeflow/sdk #165 (tests/agent/test_nvml.py has the GPUs, which no node has here)
    """
    rough = stories.rough.result()
    assert pods_of(frameworks, "rough") == []
    failure = rough.ended["status"]["failure"]
    assert (failure["rank"], failure["exitCode"]) == (1, 3)
    assert failure["node"].startswith("ftjob-worker")
    said = f"{failure['message']}\n{failure.get('logTail', '')}"
    assert "rank 1 gives up attempt 2" in said
    assert re.findall(r"rank 1 gives up attempt (\d)", rough.logs[1]) == ["1", "2"], "of all attempts"
    for samples in rough.samples:
        assert all(sample["rssBytes"] > 0 for sample in samples)
        assert samples[-1]["timeNs"] > samples[0]["timeNs"]


def test_a_gang_without_room_has_its_pods_and_starts_when_there_is_room(stories: Stories) -> None:
    """Pods wait for their PodGroup and the PodGroup for its pods: the job is stuck, and has no pods.

    kubeflow/trainer #1630, #1264
    """
    gang = stories.gang.result()
    assert gang.waiting["status"]["gang"] == "Native"
    assert gang.waiting["status"]["phase"] == "Starting"
    assert len(gang.pods) == gang.waiting["spec"]["workers"], "a scheduler sees all pods of the gang"
    assert not [pod["metadata"]["name"] for pod in gang.pods if pod["spec"].get("nodeName")], "all or none"
    said = conditions(gang.waiting)["Running"]["message"]
    assert f"minCount ({len(gang.pods)}) cannot be satisfied" in said, "the scheduler's own words"
    assert gang.ended["status"]["phase"] == "Succeeded"
    assert restarts(gang.ended) == (0, 0, 0)


def test_tensorflow_and_long_names_work_and_no_image_is_added(stories: Stories, frameworks: Cluster) -> None:
    """TensorFlow was dropped; a long name leaves a job stuck; the pulls of the init image are rate-limited.

    kubeflow/trainer #2699, #2443, #1101; kubeflow/pytorch-operator #339
    """
    named = stories.named.result()
    assert len(LONGEST_NAME) == 40
    assert named.ended["status"]["phase"] == "Succeeded", named.ended["status"].get("failure")
    assert [said["task"] for said in named.said] == [{"type": "worker", "index": index} for index in range(2)]
    assert named.said[0]["cluster"] == named.said[1]["cluster"]
    for strategy in TENSORFLOW:
        accepted = small("accepted", "pass", strategy=strategy)
        frameworks.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(accepted))
    with pytest.raises(AssertionError, match="at most 40"):
        frameworks.apply(small(f"{LONGEST_NAME}n", "pass"))
    check_images(frameworks, named.pods)


def check_images(cluster: Cluster, pods: list[dict[str, Any]]) -> None:
    """Hold that no image comes beside the job's own, and that nothing is pulled that is there."""
    assert not [pod for pod in pods if "initContainers" in pod["spec"]]
    names = {pod["metadata"]["name"] for pod in pods}
    events = [e for e in cluster.items("events") if e["involvedObject"]["name"] in names]
    assert {e["reason"] for e in events} >= {"Pulled"}
    assert not [e for e in events if e["reason"] == "Pulling"], "it was there"
