"""What happens to jobs in a cluster, with real pods: the phase they end in, counts, and nothing left over."""

from __future__ import annotations

import secrets
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from support.cluster import RESTRICTED_CONTAINER, Cluster, conditions, pods_of
from support.scenario import (
    FAIL_ONCE,
    HELD,
    UNTIL_RESTARTED,
    delete_and_look,
    evict,
    finished_pod_deleted,
    history,
    let_go,
    restarts,
    scenario,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRIED = {1: False, 42: False, 137: True, 143: True, 255: True}
"""Exit codes, and whether `restart.retryExitCodes` has them."""
EATS_MEMORY = """
import os, time
if os.environ["FTJOB_ATTEMPT"] == "0":
    hoard = []
    while True:
        hoard.append(bytearray(1 << 24))
"""


@pytest.mark.parametrize("in_place", [True, False], ids=["in-place", "new-pods"])
def test_the_exit_code_of_the_first_failing_rank_decides_on_another_attempt(
    cluster: Cluster, in_place: bool
) -> None:
    names = {code: f"exits-{code}-{'in-place' if in_place else 'new-pods'}" for code in RETRIED}
    for number, (code, name) in enumerate(names.items()):
        made = scenario(name, FAIL_ONCE, number % 4, code, processesPerWorker=2)
        made["spec"]["restart"]["inPlace"] = in_place
        cluster.apply(made)
    for number, (code, again) in enumerate(RETRIED.items()):
        ended = cluster.finished(names[code])
        if again:
            assert ended["status"]["phase"] == "Succeeded", ended["status"]
            assert restarts(ended) == (1, 1, 0)
        else:
            assert ended["status"]["phase"] == "Failed", ended["status"]
            assert restarts(ended) == (0, 0, 0)
            failure = ended["status"]["failure"]
            assert (failure["rank"], failure["exitCode"]) == (number % 4, code)
            assert "retryExitCodes" in conditions(ended)["Failed"]["message"]
        delete_and_look(cluster, names[code])


def test_a_rank_that_eats_all_memory_is_named_as_out_of_memory_and_may_come_again(cluster: Cluster) -> None:
    made = scenario("hungry", EATS_MEMORY)
    made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"memory": "128Mi"}
    cluster.apply(made)
    with history(cluster, "hungry") as seen:
        ended = cluster.finished("hungry")
    seen.check()
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    assert restarts(ended) == (1, 1, 0)
    assert seen.reasons == ["OOMKilled"]
    assert "memory limit is reached" in seen.hints[0]
    delete_and_look(cluster, "hungry")


@pytest.mark.parametrize("how", ["eviction", "deletion"])
def test_a_pod_that_the_cluster_takes_is_a_disruption_and_costs_nothing(cluster: Cluster, how: str) -> None:
    name = f"taken-by-{how}"
    made = scenario(name, UNTIL_RESTARTED)
    made["spec"]["restart"]["limit"] = 0
    cluster.apply(made)
    cluster.until("ftj", name, "{.status.phase}=Running")
    victim = f"{name}-worker-0-1"
    with history(cluster, name) as seen:
        if how == "eviction":
            evict(cluster, victim)
        else:
            cluster.kubectl("delete", "pod", victim, "--wait=false")
        ended = cluster.finished(name)
    seen.check()
    assert seen.phases[0] == "Running"
    assert "Restarting" in seen.phases
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    assert restarts(ended) == (1, 0, 1)
    reason = {"eviction": "EvictionByEvictionAPI", "deletion": "PodDeleted"}[how]
    assert seen.reasons == [reason]
    delete_and_look(cluster, name)


def test_a_finished_workers_pod_may_be_deleted(cluster: Cluster) -> None:
    finished_pod_deleted(cluster, "early", nullcontext())


def test_a_deleted_service_comes_back_and_the_job_goes_on(cluster: Cluster) -> None:
    cluster.apply(scenario("unnamed", HELD))
    cluster.until("ftj", "unnamed", "{.status.phase}=Running")
    before = cluster.get("service", "unnamed")["metadata"]["uid"]
    cluster.kubectl("delete", "service", "unnamed")
    deadline = time.monotonic() + 60
    while [s["metadata"]["uid"] for s in cluster.items("services") if s["metadata"]["name"] == "unnamed"] in (
        [],
        [before],
    ):
        assert time.monotonic() < deadline, "the Service does not come back"
        time.sleep(0.5)
    for index in range(2):
        let_go(cluster, f"unnamed-worker-0-{index}")
    ended = cluster.finished("unnamed")
    assert ended["status"]["phase"] == "Succeeded"
    assert restarts(ended) == (0, 0, 0)
    delete_and_look(cluster, "unnamed")


def test_a_sidecar_that_outlives_the_trainer_does_not_keep_the_job(cluster: Cluster) -> None:
    made = scenario("sidecar", "print('done')")
    sidecar = {
        "name": "sidecar",
        "image": "ftjob-test-base:dev",
        "command": ["sleep", "600"],
        "securityContext": RESTRICTED_CONTAINER,
    }
    made["spec"]["template"]["spec"]["containers"].append(sidecar)
    cluster.apply(made)
    ended = cluster.finished("sidecar", seconds=90)
    assert ended["status"]["phase"] == "Succeeded"
    cluster.kubectl("wait", "--for=delete", "pods", "-l", "ftjob.dev/job=sidecar", "--timeout=60s")
    delete_and_look(cluster, "sidecar")


@pytest.fixture
def tight(cluster: Cluster) -> Iterator[Cluster]:
    """A namespace whose quota has room for two pods."""
    name = f"{cluster.namespace}-{secrets.token_hex(2)}"
    cluster.kubectl("create", "namespace", name)
    narrow = Cluster(name)
    try:
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "room"}}
        narrow.apply(quota | {"spec": {"hard": {"pods": "2"}}})
        narrow.until("resourcequota", "room", "{.status.hard.pods}=2")
        yield narrow
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_half_a_job_is_taken_back_when_the_quota_refuses_the_rest(tight: Cluster) -> None:
    tight.apply(scenario("large", "print('done')", workers=3))
    refused = '{.status.conditions[?(@.type=="Admitted")].reason}=CreationForbidden'
    waiting = tight.until("ftj", "large", refused)
    assert waiting["status"]["phase"] == "Pending"
    said = conditions(waiting)["Admitted"]["message"]
    assert "exceeded quota: room" in said
    assert "The quota room has no room: pods=1 are asked for, pods=2 used, pods=2 allowed" in said
    deadline = time.monotonic() + 60
    while pods_of(tight, "large"):
        assert time.monotonic() < deadline, "pods stay that others could use the room of"
        time.sleep(0.5)
    tight.kubectl("patch", "resourcequota", "room", "--patch", '{"spec":{"hard":{"pods":"3"}}}')
    ended = tight.finished("large", seconds=120)
    assert ended["status"]["phase"] == "Succeeded"
    assert restarts(ended) == (0, 0, 0)
    delete_and_look(tight, "large")


def in_phase(name: str, phase: str) -> dict[str, Any]:
    """Return a job that comes to that phase and stays in it."""
    made = scenario(name, "import time; time.sleep(600)")
    if phase == "Starting":
        made["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "true"}
    elif phase == "Restarting":
        made = scenario(name, FAIL_ONCE, 1, 137)
        made["spec"]["restart"] = {"limit": 1, "backoffSeconds": 300, "inPlace": False}
    elif phase == "Suspended":
        made["spec"]["suspend"] = True
    elif phase in {"Succeeded", "Failed"}:
        made = scenario(name, f"raise SystemExit({int(phase == 'Failed')})")
    return made


PHASES = ("Starting", "Running", "Restarting", "Suspended", "Succeeded", "Failed")


def test_a_job_may_be_deleted_in_each_phase(cluster: Cluster, tight: Cluster) -> None:
    for phase in PHASES:
        cluster.apply(in_phase(f"del-{phase.lower()}", phase))
    tight.apply(scenario("del-pending", "pass", workers=3))
    tight.until("ftj", "del-pending", "{.status.phase}=Pending")
    delete_and_look(tight, "del-pending")
    for phase in PHASES:
        name = f"del-{phase.lower()}"
        cluster.until("ftj", name, f"{{.status.phase}}={phase}")
        delete_and_look(cluster, name)


def test_a_job_may_be_suspended_in_each_phase_and_goes_on(cluster: Cluster) -> None:
    phases = ("Starting", "Running", "Restarting", "Succeeded")
    for phase in phases:
        cluster.apply(in_phase(f"susp-{phase.lower()}", phase))
    for phase in phases:
        name = f"susp-{phase.lower()}"
        cluster.until("ftj", name, f"{{.status.phase}}={phase}")
        before = restarts(cluster.get("ftj", name))
        cluster.kubectl("patch", "ftj", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
        if phase == "Succeeded":
            time.sleep(2)
            assert cluster.get("ftj", name)["status"]["phase"] == "Succeeded", "what is final stays"
            continue
        cluster.until("ftj", name, "{.status.phase}=Suspended")
        if pods_of(cluster, name):
            selector = ("-l", f"ftjob.dev/job={name}")
            cluster.kubectl("wait", "--for=delete", "pods", *selector, "--timeout=60s")
        cluster.kubectl("patch", "ftj", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
        wanted = {"Starting": "Starting", "Running": "Running", "Restarting": "Succeeded"}[phase]
        cluster.until("ftj", name, f"{{.status.phase}}={wanted}")
        after = restarts(cluster.get("ftj", name))
        assert after[1:] == before[1:], "a suspension is no restart"
    for phase in phases:
        delete_and_look(cluster, f"susp-{phase.lower()}")


TOO_MUCH = """
import time
with open("/tmp/much", "wb") as file:
    file.write(bytes(16 << 20))
time.sleep(600)
"""


def test_what_keeps_a_job_from_starting_or_takes_its_pod_away_is_explained(cluster: Cluster) -> None:
    unpullable, secretless = (scenario(name, "pass", workers=1) for name in ("unpullable", "secretless"))
    claimless = scenario("claimless", "pass", workers=1, outputs={"claimName": "nowhere"})
    greedy = scenario("greedy", TOO_MUCH, workers=1, restart={"limit": 0})
    [trainer] = unpullable["spec"]["template"]["spec"]["containers"]
    trainer["image"] = "127.0.0.1:9/nowhere:1"
    [trainer] = secretless["spec"]["template"]["spec"]["containers"]
    trainer["env"] = [
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "of-nowhere", "key": "token"}}}
    ]
    [trainer] = greedy["spec"]["template"]["spec"]["containers"]
    trainer["resources"]["limits"] = {"ephemeral-storage": "4Mi"}
    cluster.apply(unpullable, secretless, claimless, greedy)
    expected = {
        "unpullable": "The node does not reach the image's registry",
        "secretless": "The pod needs the secret of-nowhere",
        "claimless": "There is no claim nowhere in this namespace",
    }
    for name, hint in expected.items():
        deadline = time.monotonic() + 120
        while hint not in (said := conditions(cluster.get("ftj", name))["Running"]["message"]):
            assert time.monotonic() < deadline, said
            time.sleep(0.5)
        assert said.index("nowhere") < said.index(hint), "Kubernetes' own words come first"
        delete_and_look(cluster, name)
    ended = cluster.finished("greedy")
    failure = ended["status"]["failure"]
    assert "ephemeral" in failure["message"], "the kubelet's own words"
    assert "than its limit of 4Mi allows" in failure["hint"]
    delete_and_look(cluster, "greedy")
