"""A rank that fails once: the job goes on in the same pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster import job

if TYPE_CHECKING:
    from support.cluster import Cluster

FAILS_ONCE = """
import os, sys, time, torch, horovod.torch as hvd
hvd.init()
total = hvd.allreduce(torch.tensor([hvd.rank() + 1.0]), op=hvd.Sum).item()
assert total == 10, total
if os.environ["FTJOB_ATTEMPT"] == "0":
    if hvd.rank() == 3:
        time.sleep(15)  # until the job is seen to run
        print("rank 3 gives up", file=sys.stderr, flush=True)
        os._exit(42)
    time.sleep(600)
print("total", total)
"""


def uids(cluster: Cluster) -> dict[str, str]:
    pods = cluster.items("pods")
    mine = [pod["metadata"] for pod in pods if pod["metadata"]["labels"].get("ftjob.dev/job") == "in-place"]
    return {meta["name"]: meta["uid"] for meta in mine}


def test_a_horovod_job_goes_on_in_the_same_pods_after_a_rank_has_failed(frameworks: Cluster) -> None:
    command = ["python3", "-c", FAILS_ONCE]
    made = job("in-place", command, strategy="Horovod", workers=2, processes=2, frameworks=True)
    made["spec"]["restart"] = {"limit": 1, "retryExitCodes": "42", "backoffSeconds": 0}
    frameworks.apply(made)
    frameworks.until("ftj", "in-place", "{.status.phase}=Running", seconds=240)
    before = uids(frameworks)
    assert sorted(before) == ["in-place-worker-0-0", "in-place-worker-0-1"]
    frameworks.until("ftj", "in-place", "{.status.failure.rank}=3", seconds=120)
    failure = frameworks.get("ftj", "in-place")["status"]["failure"]
    assert (failure["pod"], failure["exitCode"]) == ("in-place-worker-0-1", 42)
    assert "rank 3 gives up" in failure["message"]
    status = frameworks.finished("in-place")["status"]
    assert status["phase"] == "Succeeded", status
    assert uids(frameworks) == before
    assert (status["attempt"], status["podAttempt"]) == (1, 0)
    assert (status["restarts"]["failures"], status["restarts"]["disruptions"]) == (1, 0)
    assert "lostSeconds" in status["restarts"]
    log = frameworks.kubectl("logs", "in-place-worker-0-0", "-c", "trainer")
    assert log.count("total 10.0") == 2  # of the pod's two ranks
