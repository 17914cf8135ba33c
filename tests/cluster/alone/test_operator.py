"""The operator as a pod from its image: killed after each of its writes, and left in peace."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import CONTEXT, Cluster, conditions, job, operator_requests
from support.mortal import WRITES, program
from support.scenario import HELD, SYSTEM, let_go, no_operator

if TYPE_CHECKING:
    from collections.abc import Iterator


LIVES = 40
"""More than a job takes: an operator that never gets anywhere is found out."""
FINISHED, RUNNING = 20, 5
QUIET_SECONDS = 60
STEPS = (
    "import json, os, time\n"
    "for step in range(10_000):\n"
    "    with open(os.environ['FTJOB_PROGRESS_FILE'], 'a') as file:\n"
    "        file.write(json.dumps({'step': step, 'totalSteps': 10_000}) + '\\n')\n"
    "    time.sleep(1)\n"
)


@pytest.fixture
def template() -> Iterator[dict[str, Any]]:
    """The operator's pod template, while none runs."""
    with no_operator() as found:
        yield found
        SYSTEM.kubectl("delete", "pods", "-l", "test=one-write", "--ignore-not-found", "--grace-period=1")


def one_write(template: dict[str, Any], life: int) -> dict[str, Any]:
    """Return an operator that dies, as by SIGKILL, as soon as one write of its own was acknowledged."""
    spec = {**template["spec"], "restartPolicy": "Never"}
    [container] = spec["containers"]
    env = [*container["env"], {"name": WRITES, "value": "1"}]
    # Without the Lease, whose renewal would be the one write.
    args = [*container["args"], "--no-leader-election"]
    spec["containers"] = [{**container, "env": env, "command": ["python", "-c", program()], "args": args}]
    meta = {"name": f"operator-life-{life}", "labels": {"test": "one-write"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def test_a_job_ends_the_same_though_the_operator_dies_after_every_write(
    cluster: Cluster, template: dict[str, Any]
) -> None:
    cluster.apply(job("lives", ["python3", "-c", HELD], workers=2))
    ended: dict[str, Any] = {}
    deaths = 0
    released = False
    for life in range(LIVES):
        name = f"operator-life-{life}"
        SYSTEM.apply(one_write(template, life))
        while not ended:
            pod = SYSTEM.get("pod", name)
            if pod["status"]["phase"] == "Failed":
                deaths += 1
                assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
                break
            found = cluster.get("ftj", "lives")
            if not released and found.get("status", {}).get("phase") == "Running":
                released = True
                for index in range(2):
                    let_go(cluster, f"lives-worker-0-{index}")
            if found.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                ended = found
            time.sleep(0.2)
        SYSTEM.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")
        if ended:
            break
    assert ended, f"no end in {LIVES} lives"
    assert deaths >= 7, "the start, Secret, Service, two pods, Running and the end at least"
    assert ended["status"]["phase"] == "Succeeded"
    assert ended["status"]["restarts"] == {"failures": 0, "disruptions": 0}
    assert ended["status"]["attempt"] == 0
    assert ended["status"]["roles"][0]["succeededIndexes"] == "0-1"
    made = Counter(
        (entry["objectRef"]["resource"], entry["objectRef"]["name"])
        for entry in operator_requests()
        if entry["objectRef"].get("namespace") == cluster.namespace
        and entry["verb"] == "create"
        and entry["objectRef"]["resource"] != "events"
        and entry["responseStatus"]["code"] == 201
        and entry["objectRef"]["name"].startswith("lives")
    )
    uid = ended["metadata"]["uid"]
    assert set(made.values()) == {1}, made
    groups = [name for resource, name in made if resource == "podgroups"]
    assert groups == ["lives-0"]
    kinds, mine = "pods,services,secrets,persistentvolumeclaims", ("-l", f"ftjob.dev/uid={uid}")
    left = cluster.kubectl("get", kinds, *mine, "-o", "name").split()
    assert len(left) == len(made) - len(groups), (left, made)  # the group goes with its attempt
    assert len([name for name in left if name.startswith("pod/")]) == 2
    cluster.kubectl("delete", "ftj", "lives")
    every = f"{kinds},podgroups.scheduling.k8s.io"
    cluster.kubectl("wait", "--for=delete", every, *mine, "--timeout=60s")


def test_nothing_is_written_while_jobs_run_or_rest(cluster: Cluster) -> None:
    cluster.apply(*(job(f"done-{number}", ["true"]) for number in range(FINISHED)))
    for number in range(FINISHED):
        assert cluster.finished(f"done-{number}")["status"]["phase"] == "Succeeded"
    cluster.apply(*(job(f"runs-{number}", ["sleep", "600"]) for number in range(RUNNING - 1)))
    cluster.apply(job("runs-on", ["python3", "-c", STEPS]))
    names = [f"runs-{number}" for number in range(RUNNING - 1)] + ["runs-on"]
    for name in names:
        cluster.until("ftj", name, "{.status.phase}=Running")
    cluster.until("ftj", "runs-on", "{.status.progress.totalSteps}=10000")
    time.sleep(5)  # the Events of the last change may come a moment later
    before = {entry["auditID"] for entry in operator_requests()}
    steps = cluster.get("ftj", "runs-on")["status"]["progress"]["step"]
    time.sleep(QUIET_SECONDS)
    writes = [
        entry
        for entry in operator_requests()
        if entry["auditID"] not in before and entry["verb"] not in {"get", "list", "watch"}
    ]
    assert {entry["objectRef"]["resource"] for entry in writes} == {"leases", "frameworktrainingjobs"}
    changed = [e for e in writes if e["objectRef"]["resource"] != "leases"]
    assert {entry["objectRef"]["name"] for entry in changed} == {"runs-on"}
    assert len(changed) <= QUIET_SECONDS / 30 + 1, "progress is written every 30 s at most"
    assert cluster.get("ftj", "runs-on")["status"]["progress"]["step"] > steps
    for name in names:
        assert conditions(cluster.get("ftj", name))["Running"]["status"] == "True"
        cluster.kubectl("delete", "ftj", name, "--wait=false")


def test_the_operator_needs_little_memory() -> None:
    [pod] = SYSTEM.items("pods")
    command = ["kubectl", "--context", CONTEXT, "-n", "ftjob-system", "exec", pod["metadata"]["name"], "--"]
    status = subprocess.run(
        [*command, "cat", "/proc/1/status"], capture_output=True, text=True, check=True
    ).stdout
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    assert int(line.split()[1]) < 100_000
