"""The operator's role, compared with the audit log: it may do what it does, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.chart import granted, render
from support.cluster import Cluster, conditions, job, operator_requests
from support.kueue import RIGHTS as OF_KUEUE
from support.kueue import RIGHTS_TO_ADOPT
from support.scenario import SYSTEM, no_operator

if TYPE_CHECKING:
    from typing import Any

UNSEEN = {("frameworktrainingjobs", "get")}
"""What a watch that has missed an event leads to: tests/unit/test_control_full_lists.py."""
GANG_OF_ONE = {"schedulingPolicy": {"gang": {"minCount": 1}}}
KUEUE = {("workloads", "watch")} | {
    (resource.split("/")[0], verb) for resource, verb in OF_KUEUE | RIGHTS_TO_ADOPT
}
"""Which is not in this cluster: tests/apiserver/test_kueue.py and test_multikueue.py."""


def start_anew() -> None:
    """Have the operator start as in a new cluster: nobody has led, and there is no key."""
    with no_operator():
        SYSTEM.kubectl("delete", "lease/ftjob-operator", "secret/ftjob-agent-key")


def live(cluster: Cluster) -> None:
    """Have a job of each kind that needs a right of its own, and one whose time to live ends."""
    keeps = job("keeps", ["true"])
    keeps["spec"]["outputs"] = {"size": "1Mi"}
    for _ in range(2):  # the second finds the claim that the first has left
        cluster.apply(keeps)
        assert cluster.finished("keeps")["status"]["phase"] == "Succeeded"
        cluster.kubectl("delete", "ftj", "keeps")
    ends = job("ends", ["true"])
    ends["spec"] |= {"cleanPods": "All", "ttlSecondsAfterFinished": 1}
    cluster.apply(ends)
    cluster.kubectl("wait", "--for=delete", "ftj/ends", "--timeout=120s")


def meet_strangers(cluster: Cluster) -> None:
    """Have others own what jobs want to create: each is looked at."""
    pod = job("x", ["sleep", "600"])["spec"]["template"]["spec"]
    taken: dict[str, tuple[str, str, dict[str, Any]]] = {
        "as-service": ("v1", "Service", {"ports": [{"port": 80}]}),
        "as-pod-worker-0-0": ("v1", "Pod", pod),
        "as-group-0": ("scheduling.k8s.io/v1beta1", "PodGroup", GANG_OF_ONE),
    }
    for name, (version, kind, spec) in taken.items():
        cluster.apply({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    for name in ("as-service", "as-pod", "as-group"):
        cluster.apply(job(name, ["true"], workers=2))
        assert conditions(cluster.finished(name))["Failed"]["reason"] == "NameConflict"


def test_the_operator_has_the_rights_that_it_uses_and_no_others(cluster: Cluster) -> None:
    start_anew()
    live(cluster)
    meet_strangers(cluster)
    used = set()
    for entry in operator_requests():
        if entry["objectRef"]["resource"] == "networkpolicies":
            continue  # of an operator that another test has told to make them, and given the rights
        # A 403 of admission (the namespace is going) is no lack of rights.
        assert entry["annotations"]["authorization.k8s.io/decision"] == "allow", entry
        used.add((entry["objectRef"]["resource"], entry["verb"]))
    roles = [found for found in render() if found["kind"] in {"Role", "ClusterRole"} and "rules" in found]
    mine = [role for role in roles if role["metadata"]["name"] in {"ftjob-operator", "ftjob-operator-own"}]
    allowed = {(g.resource.split("/")[0], g.verb) for role in mine for g in granted(role)}
    assert allowed
    assert used <= allowed
    assert allowed - used <= UNSEEN | KUEUE
