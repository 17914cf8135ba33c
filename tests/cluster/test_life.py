"""What happens around a job: names that are taken, jobs applied again, late pods, users' mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from support.cluster import Cluster, conditions, job

LATE_LEADER = "case $(hostname) in *-0) sleep 60 ;; esac"
ALL_REDUCE = (
    "import torch, horovod.torch as hvd; hvd.init(); "
    "total = hvd.allreduce(torch.tensor([hvd.rank() + 1.0]), op=hvd.Sum).item(); "
    "assert total == hvd.size() * (hvd.size() + 1) / 2, total"
)


def test_horovod_starts_though_index_0_is_a_minute_late(frameworks: Cluster) -> None:
    late: dict[str, Any] = {
        "name": "late",
        "image": "ftjob-test-base:dev",
        "command": ["sh", "-c", LATE_LEADER],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    made = job(
        "late",
        ["python3", "-c", ALL_REDUCE],
        strategy="Horovod",
        workers=2,
        processes=2,
        frameworks=True,
        initContainers=[late],
    )
    frameworks.apply(made)
    assert frameworks.finished("late")["status"]["phase"] == "Succeeded"


def test_a_job_applied_again_waits_for_its_predecessor_and_then_runs(cluster: Cluster) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    cluster.apply(job("again", ["python3", "-c", stubborn]))
    cluster.until("ftj", "again", "{.status.phase}=Running")
    first = cluster.get("ftj", "again")["metadata"]["uid"]
    cluster.kubectl("delete", "ftj", "again")
    cluster.apply(job("again", ["python3", "-c", "print('second')"]))
    cluster.until("ftj", "again", '{.status.conditions[?(@.type=="Admitted")].reason}=PreviousRunTerminating')
    second = cluster.finished("again")
    assert second["metadata"]["uid"] != first
    assert second["status"]["phase"] == "Succeeded"


def test_the_success_of_worker_0_can_be_the_jobs(cluster: Cluster) -> None:
    made = job("first", ["sh", "-c", 'test "$JOB_COMPLETION_INDEX" = 0 || exec sleep 600'], workers=2)
    made["spec"]["success"] = "Worker0"
    cluster.apply(made)
    done = cluster.finished("first", seconds=90)
    assert done["status"]["phase"] == "Succeeded"
    assert done["status"]["roles"][0]["succeededIndexes"] == "0"


@pytest.mark.parametrize("kind", ["Service", "Pod"])
def test_a_strangers_object_of_our_name_is_named_and_not_touched(cluster: Cluster, kind: str) -> None:
    name = f"taken-{kind.lower()}"
    taken = name if kind == "Service" else f"{name}-worker-0-0"
    if kind == "Service":
        spec: dict[str, Any] = {"ports": [{"port": 80}]}
    else:
        spec = job("x", ["sleep", "600"])["spec"]["template"]["spec"]
    stranger = {"apiVersion": "v1", "kind": kind, "metadata": {"name": taken}, "spec": spec}
    cluster.apply(stranger)
    before = cluster.get(kind, taken)["metadata"]["uid"]
    cluster.apply(job(name, ["true"]))
    failed = conditions(cluster.finished(name))["Failed"]
    assert failed["reason"] == "NameConflict"
    assert f"{kind} {taken}" in failed["message"]
    assert cluster.get(kind, taken)["metadata"]["uid"] == before


def test_a_typo_in_the_pod_template_is_named_and_the_corrected_job_runs(cluster: Cluster) -> None:
    wrong = job("typo", ["true"])
    container = wrong["spec"]["template"]["spec"]["containers"][0]
    container["resorces"] = container.pop("resources")
    cluster.apply(wrong)
    failed = conditions(cluster.finished("typo"))["Failed"]
    assert failed["reason"] == "InvalidSpec"
    assert "resorces" in failed["message"]
    cluster.apply(job("typo", ["true"]))
    cluster.until("ftj", "typo", "{.status.phase}=Succeeded")


def test_a_finished_job_leaves_nothing_that_outlives_it(cluster: Cluster) -> None:
    cluster.apply(job("gone", ["true"], workers=2))
    uid = cluster.finished("gone")["metadata"]["uid"]
    mine = ("pods,services,secrets", "-l", f"ftjob.dev/uid={uid}")
    assert cluster.kubectl("get", *mine, "-o", "name")
    cluster.kubectl("delete", "ftj", "gone")
    cluster.kubectl("wait", "--for=delete", *mine, "--timeout=60s")
