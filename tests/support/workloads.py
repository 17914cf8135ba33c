"""Builders of Kueue's Workloads, and of jobs that wait for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.builders import JobBuilder, job

from ftjob.plan.kueue.workload import workload_name
from ftjob.plan.observed.kueue_admission import PodSet, WorkloadState
from ftjob.plan.observed.state import Answer, Lookup

V2, V1 = "kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1"
SERVED: tuple[tuple[str, str], ...] = ((V2, "Workload"), (V1, "Workload"))
FLAVOR = Lookup(V2, "ResourceFlavor", "spot")
SPOT: dict[str, Any] = {
    "spec": {
        "nodeLabels": {"pool": "spot"},
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
    }
}
READ = {FLAVOR: Answer(SPOT)}


def queued(**spec: Any) -> JobBuilder:
    return replace(job().workers(2).with_spec(**spec), labels={"kueue.x-k8s.io/queue-name": "team-a"})


NAME = workload_name(queued().build())


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason or kind, "message": message}


def workload(*conditions: dict[str, str], count: int = 2, **fields: Any) -> WorkloadState:
    """Return an admitted Workload, with further conditions."""
    base = [condition("QuotaReserved"), condition("Admitted")]
    found = {c["type"]: c for c in (*base, *conditions)}
    assignment = {"name": "worker", "count": count, "flavors": {"cpu": "spot", "memory": "spot"}}
    status = {"conditions": list(found.values()), "admission": {"podSetAssignments": [assignment]}}
    state = WorkloadState(
        V2, NAME, "uid-of-workload", "7", queue="team-a", pod_sets=(PodSet("worker", 2),), status=status
    )
    return replace(state, **fields)


WAITING = replace(
    workload(), status={"conditions": [condition("QuotaReserved", "False", "Pending", "insufficient quota")]}
)
