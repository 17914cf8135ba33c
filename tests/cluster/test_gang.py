"""Gangs as Kubernetes' own scheduler places them: all pods or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.cluster import conditions
from support.scenario import nodes, spread

if TYPE_CHECKING:
    from support.cluster import Cluster


def test_a_gang_without_room_runs_no_pod_says_why_gives_up_and_leaves_nothing(cluster: Cluster) -> None:
    cluster.apply(spread("crowd", workers=nodes() + 1, scheduling={"timeoutSeconds": 30}))
    unplaced = '{.status.conditions[?(@.type=="Running")].reason}=Unschedulable'
    waiting = cluster.until("ftj", "crowd", unplaced)
    assert waiting["status"]["phase"] == "Starting"
    assert waiting["status"]["gang"] == "Native"
    # The scheduler's own words, whether it has said them of the group or of its pods.
    assert "minCount" in conditions(waiting)["Running"]["message"]
    pods = [p for p in cluster.items("pods") if p["metadata"]["labels"].get("app") == "crowd"]
    assert len(pods) == nodes() + 1
    assert not [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName")]
    failed = conditions(cluster.finished("crowd", seconds=120))["Failed"]
    assert failed["reason"] == "StartTimeout"
    assert "scheduling.timeoutSeconds (30 s)" in failed["message"]
    mine = ("-l", "ftjob.dev/job=crowd", "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", "pods,podgroups.scheduling.k8s.io", *mine)


def test_a_gang_with_room_runs(cluster: Cluster) -> None:
    cluster.apply(spread("fits", workers=nodes(), scheduling={"timeoutSeconds": 240}))
    done = cluster.finished("fits")
    assert done["status"]["phase"] == "Succeeded"
    pods = [p for p in cluster.items("pods") if p["metadata"]["labels"].get("app") == "fits"]
    assert {p["spec"]["schedulingGroup"]["podGroupName"] for p in pods} == {"fits-0"}
    assert len({p["spec"]["nodeName"] for p in pods}) == nodes()
    mine = ("-l", "ftjob.dev/job=fits", "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", "podgroups.scheduling.k8s.io", *mine)
