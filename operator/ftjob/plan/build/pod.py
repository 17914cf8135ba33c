"""Worker pods: the user's template, with the agent in front of the trainer's command."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import mapping, trainer_in
from ftjob.models.names import LABEL_ATTEMPT, LABEL_INDEX, LABEL_ROLE, LABEL_STRATEGY
from ftjob.models.spec import template_of
from ftjob.models.template import OUTPUTS_VOLUME, SHM_VOLUME
from ftjob.plan.build.agent_config import OUTPUTS_DIR, agent_command
from ftjob.plan.build.bring_agent import agent_mounts, agent_volumes, start_agent
from ftjob.plan.build.objects import child_meta, service_name
from ftjob.plan.build.outputs import outputs_claim, outputs_path
from ftjob.plan.build.topology import HOST_LABEL, one_domain, require
from ftjob.strategies import STRATEGIES
from ftjob_protocol import files, variables

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.layout import Layout, WorkerPlace
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import Config
    from ftjob.strategies.base import PodNeeds

BAD_NODE_FAILURES = 2
"""After so many failures on one node the next attempt prefers others."""

KEEP_IN_PLACE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Annotations that keep autoscalers from moving a worker, which would end the attempt for all."""

DEV_SHM = "/dev/shm"  # noqa: S108  where it is, whoever may write there

LOST_NODE_SECONDS = 5

LOST_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def bad_nodes(nodes: list[str]) -> list[str]:
    """Return the nodes that the next attempt prefers to avoid."""
    return sorted({node for node in nodes if nodes.count(node) >= BAD_NODE_FAILURES})


def build_pod(job: Job, layout: Layout, worker: WorkerPlace, config: Config) -> Manifest:
    """Return one worker pod: the user's template, with the agent in front of the trainer's command."""
    template = copy.deepcopy(template_of(job.spec, worker.role))
    user_meta = template.get("metadata") or {}
    spec: dict[str, Any] = template.get("spec") or {}
    meta = child_meta(job, worker.name)
    meta["labels"] = {
        **(user_meta.get("labels") or {}),
        **meta["labels"],
        LABEL_ROLE: worker.role,
        LABEL_INDEX: str(worker.index),
        LABEL_ATTEMPT: str(layout.attempt),
        LABEL_STRATEGY: job.spec.strategy,
    }
    meta["annotations"] = KEEP_IN_PLACE | (user_meta.get("annotations") or {})
    spec |= {"restartPolicy": "Never", "hostname": worker.name, "subdomain": service_name(job)}
    # Ranks reach each other by the agent's variables; the Service variables of a big namespace only cost.
    spec.setdefault("enableServiceLinks", False)
    if not spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        # Who names an account wants its token; the namespace's default one is of no use to a training.
        spec.setdefault("automountServiceAccountToken", False)
    if job.spec.scheduling.priority_class_name:
        spec.setdefault("priorityClassName", job.spec.scheduling.priority_class_name)
    _tolerate_lost_nodes(spec)
    _prefer_other_nodes(spec, bad_nodes(job.status.restarts.failed_nodes or []))
    trainer = trainer_in(template)
    _add_needs(meta, spec, trainer, STRATEGIES[job.spec.strategy].needs(layout, worker))
    require(spec, "podAffinity", one_domain(layout))
    _add_volumes(job, spec, trainer, config)
    _wrap_trainer(trainer, job, layout, worker, config)
    if spec.get("hostNetwork"):
        _use_host_network(spec, trainer, layout, worker)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _add_needs(meta: dict[str, Any], spec: dict[str, Any], trainer: dict[str, Any], needs: PodNeeds) -> None:
    """Add what the strategy needs; rules have seen to it that the template does not contradict."""
    meta["labels"] |= needs.labels
    if needs.node_selector:
        spec["nodeSelector"] = {**needs.node_selector, **(spec.get("nodeSelector") or {})}
    if needs.resources:
        resources = trainer.setdefault("resources", {})
        for kind in ("limits", "requests"):
            resources[kind] = {**(resources.get(kind) or {}), **needs.resources}
    tolerations = spec.setdefault("tolerations", [])
    said = {t.get("key") for t in tolerations}
    tolerations += [t for t in needs.tolerations if t["key"] not in said]
    for kind, terms in needs.affinity.items():
        require(spec, kind, terms)


def _tolerate_lost_nodes(spec: dict[str, Any]) -> None:
    """Leave a lost node after seconds, not after the cluster's default of five minutes.

    Whoever tolerates all taints does not mean these, so ours come first: of several that match a taint the
    first one counts (GetMatchingTolerations in Kubernetes' component-helpers, scheduling/corev1).
    """
    tolerations = spec.get("tolerations", [])
    said = {t.get("key") for t in tolerations if t.get("effect") in {None, "", "NoExecute"}}
    ours = [
        {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_NODE_SECONDS}
        for taint in LOST_NODE_TAINTS
        if taint not in said
    ]
    spec["tolerations"] = [*ours, *tolerations]


def _prefer_other_nodes(spec: dict[str, Any], nodes: list[str]) -> None:
    """Keep away from nodes that ended attempts; only a wish, since there may be no others."""
    if not nodes:
        return
    term = {"matchExpressions": [{"key": HOST_LABEL, "operator": "NotIn", "values": nodes}]}
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    wishes = affinity.setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
    wishes.append({"weight": 100, "preference": term})


def _add_volumes(job: Job, spec: dict[str, Any], trainer: dict[str, Any], config: Config) -> None:
    outputs = job.spec.outputs
    volumes = spec.setdefault("volumes", [])
    volumes += agent_volumes(job, config.agent)
    if outputs is None:
        volumes.append({"name": OUTPUTS_VOLUME, "emptyDir": {}})
    else:
        volumes.append({"name": OUTPUTS_VOLUME, "persistentVolumeClaim": {"claimName": outputs_claim(job)}})
    mounts = trainer["volumeMounts"] = [*(trainer.get("volumeMounts") or ())]
    has_own = spec.get("hostIPC") or any(str(m.get("mountPath")).rstrip("/") == DEV_SHM for m in mounts)
    if not has_own:
        # Data loaders and NCCL share memory there; a container's default is 64 MiB. What lies there counts as
        # the trainer's memory.
        limit = memory_limit(spec, trainer)
        size = {} if limit is None else {"sizeLimit": limit}
        volumes.append({"name": SHM_VOLUME, "emptyDir": {"medium": "Memory", **size}})
        mounts.append({"name": SHM_VOLUME, "mountPath": DEV_SHM})


def memory_limit(spec: dict[str, Any], trainer: dict[str, Any]) -> Any:
    """Return how much memory the trainer may have, or its whole pod; None if neither says."""
    limits = (mapping(holder, "resources", "limits") for holder in (trainer, spec))
    return next((found["memory"] for found in limits if found.get("memory") is not None), None)


def _use_host_network(
    spec: dict[str, Any], trainer: dict[str, Any], layout: Layout, worker: WorkerPlace
) -> None:
    """Let a pod on its node's network find the others, and keep off it those that take the same ports.

    By ``ClusterFirst`` such a pod asks the node's resolver, which knows no Services
    (kubernetes.io/docs/concepts/services-networking/dns-pod-service, "Pod's DNS Policy").
    """
    if spec.get("dnsPolicy") in {None, "ClusterFirst"}:
        spec["dnsPolicy"] = "ClusterFirstWithHostNet"
    own = (worker.port, worker.server_port)
    ports = (*own, layout.rendezvous_port, layout.slices_port) if worker is layout.leader else own
    trainer["ports"] = [
        *(trainer.get("ports") or ()),
        *({"containerPort": port, "hostPort": port} for port in ports),
    ]


def _wrap_trainer(
    trainer: dict[str, Any], job: Job, layout: Layout, worker: WorkerPlace, config: Config
) -> None:
    told = agent_command(job, layout, worker, config)
    trainer["command"] = [*start_agent(config.agent), *(trainer.get("command") or ())]
    env = trainer.setdefault("env", [])
    env[:0] = [
        {"name": variables.AGENT_CONFIG, "value": told.config_json.replace("$(", "$$(")},
        {"name": variables.NODE_NAME, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": variables.POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        # So that the trainer's own `env` may name these as $(FTJOB_INDEX) and so on.
        {"name": variables.INDEX, "value": str(worker.index)},
        {"name": variables.ATTEMPT, "value": str(layout.attempt)},
        {"name": variables.OUTPUTS, "value": OUTPUTS_DIR},
        {"name": variables.CHECKPOINT_DIR, "value": f"{OUTPUTS_DIR}/{files.CHECKPOINTS}"},
    ]
    mounts = trainer.setdefault("volumeMounts", [])
    mounts += agent_mounts()
    outputs_mount = {"name": OUTPUTS_VOLUME, "mountPath": OUTPUTS_DIR}
    if job.spec.outputs is not None:
        outputs_mount["subPath"] = outputs_path(job)
    mounts.append(outputs_mount)
    # Where the agent is killed before its last word, the end of the log is the next best evidence.
    trainer["terminationMessagePolicy"] = "FallbackToLogsOnError"
    trainer.pop("terminationMessagePath", None)
