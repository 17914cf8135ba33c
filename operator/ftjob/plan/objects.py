"""The objects of an attempt: Service, Secret, claim and pods, as manifests."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ftjob.api.defaults import gpus_of, template_of, trainer_in
from ftjob.api.names import (
    API_VERSION,
    KIND,
    LABEL_ATTEMPT,
    LABEL_INDEX,
    LABEL_JOB,
    LABEL_ROLE,
    LABEL_STRATEGY,
    LABEL_UID,
)
from ftjob.api.spec import AccessMode, WhenDeleted
from ftjob.api.template import AGENT_NAME, OUTPUTS_VOLUME
from ftjob.plan.restart import bad_nodes
from ftjob.plan.strategies import STRATEGIES
from ftjob.plan.token import bearer_token
from ftjob.plan.topology import one_domain, require
from ftjob.plan.worker import AGENT_DIR, AGENT_PYZ, OUTPUTS_DIR, build_worker

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.decision import Config, Manifest
    from ftjob.plan.layout import Layout, WorkerPlace
    from ftjob.plan.strategies.base import PodNeeds

MANAGED_BY = {"app.kubernetes.io/managed-by": "ftjob"}
TOKEN_KEY = "token"  # noqa: S105  the key's name, not a token

KEEP_IN_PLACE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Annotations that keep autoscalers from moving a worker, which would end the attempt for all."""

HOST_LABEL = "kubernetes.io/hostname"
LOST_NODE_SECONDS = 5
LOST_NODE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Pod Security ``restricted`` for the container that we add."""


def service_name(job: Job) -> str:
    """Return the name of the headless Service, the pods' subdomain."""
    return job.name


def secret_name(job: Job) -> str:
    """Return the name of the Secret with the token; the UID in it keeps an earlier job's out of the way."""
    return f"{job.name}-{job.uid[:8]}-agent"


def claim_name(job: Job) -> str:
    """Return the name of the outputs claim that we make."""
    return f"{job.name}-outputs"


def owner_reference(job: Job) -> dict[str, Any]:
    """Return the owner reference of our objects: controller, but never blocking the owner's deletion."""
    return {"apiVersion": API_VERSION, "kind": KIND, "name": job.name, "uid": job.uid, "controller": True}


def child_meta(job: Job, name: str) -> dict[str, Any]:
    """Return the metadata of an object that belongs to a job."""
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": {LABEL_JOB: job.name, LABEL_UID: job.uid, **MANAGED_BY},
        "ownerReferences": [owner_reference(job)],
    }


def build_service(job: Job) -> Manifest:
    """Return the headless Service that gives the pods their names, also before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_meta(job, service_name(job)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {LABEL_UID: job.uid},
        },
    }


def build_secret(job: Job, config: Config) -> Manifest:
    """Return the Secret with the job's bearer token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_meta(job, secret_name(job)),
        "immutable": True,
        "type": "Opaque",
        "stringData": {TOKEN_KEY: bearer_token(config.agent_key, job.uid)},
    }


def build_claim(job: Job, config: Config) -> Manifest | None:
    """Return the outputs claim, or None if the job names one or has no outputs.

    With ``whenDeleted: Retain`` it has no owner, so that results outlive the job.
    """
    assert job.spec is not None
    outputs = job.spec.outputs
    if outputs is None or outputs.claim_name:
        return None
    meta = child_meta(job, claim_name(job))
    if outputs.when_deleted is WhenDeleted.RETAIN:
        del meta["ownerReferences"]
    spec: dict[str, Any] = {
        "accessModes": [(outputs.access_mode or AccessMode.READ_WRITE_MANY).value],
        "resources": {"requests": {"storage": outputs.size or config.default_claim_size}},
    }
    storage_class = outputs.storage_class_name or config.default_storage_class_name
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def build_pod(job: Job, layout: Layout, worker: WorkerPlace, config: Config) -> Manifest:
    """Return one worker pod: the user's template, with the agent in front of the trainer's command."""
    assert job.spec is not None
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
        LABEL_STRATEGY: job.spec.strategy.value,
    }
    meta["annotations"] = KEEP_IN_PLACE | (user_meta.get("annotations") or {})
    spec |= {"restartPolicy": "Never", "hostname": worker.name, "subdomain": service_name(job)}
    # Ranks reach each other by the agent's variables; the Service variables of a big namespace only cost.
    spec.setdefault("enableServiceLinks", False)
    spec.setdefault("automountServiceAccountToken", False)
    if job.spec.scheduling.priority_class_name:
        spec.setdefault("priorityClassName", job.spec.scheduling.priority_class_name)
    _tolerate_lost_nodes(spec)
    _prefer_other_nodes(spec, bad_nodes(job.status.restarts.failed_nodes or []))
    _add_agent(spec, config)
    trainer = trainer_in(template)
    _add_needs(meta, spec, trainer, STRATEGIES[job.spec.strategy].needs(layout, worker))
    require(spec, "podAffinity", one_domain(layout))
    _add_volumes(job, spec, trainer)
    _wrap_trainer(trainer, job, layout, worker, config)
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


def _add_agent(spec: dict[str, Any], config: Config) -> None:
    resources = {"cpu": "10m", "memory": "16Mi"}
    spec["initContainers"] = [
        {
            "name": AGENT_NAME,
            "image": config.agent_image,
            "imagePullPolicy": config.agent_image_pull_policy,
            "command": ["/bin/cp", "/ftjob-agent.pyz", AGENT_PYZ],
            # requests = limits, so that a Guaranteed pod stays Guaranteed
            "resources": {"requests": resources, "limits": resources},
            "securityContext": copy.deepcopy(RESTRICTED),
            "volumeMounts": [{"name": AGENT_NAME, "mountPath": AGENT_DIR}],
        },
        *spec.get("initContainers", []),
    ]


def _add_volumes(job: Job, spec: dict[str, Any], trainer: dict[str, Any]) -> None:
    assert job.spec is not None
    outputs = job.spec.outputs
    volumes = spec.setdefault("volumes", [])
    volumes.append({"name": AGENT_NAME, "emptyDir": {}})
    if outputs is None:
        volumes.append({"name": OUTPUTS_VOLUME, "emptyDir": {}})
    else:
        claim = outputs.claim_name or claim_name(job)
        volumes.append({"name": OUTPUTS_VOLUME, "persistentVolumeClaim": {"claimName": claim}})
    mounts_shm = any(m.get("mountPath") == "/dev/shm" for m in trainer.get("volumeMounts") or ())  # noqa: S108
    if gpus_of(trainer) and not mounts_shm:
        # NCCL and data loaders share memory there; a container's default is 64 MiB.
        volumes.append({"name": "ftjob-shm", "emptyDir": {"medium": "Memory"}})
        trainer.setdefault("volumeMounts", []).append({"name": "ftjob-shm", "mountPath": "/dev/shm"})  # noqa: S108


def outputs_path(job: Job) -> str:
    """Return the job's folder in the outputs volume."""
    assert job.spec is not None
    outputs = job.spec.outputs
    return (outputs.path if outputs else None) or f"{job.namespace}/{job.name}/{job.uid}"


def _wrap_trainer(
    trainer: dict[str, Any], job: Job, layout: Layout, worker: WorkerPlace, config: Config
) -> None:
    assert job.spec is not None
    told = build_worker(job, layout, worker, config)
    trainer["command"] = ["python3", AGENT_PYZ, "--", *(trainer.get("command") or ())]
    env = trainer.setdefault("env", [])
    env[:0] = [
        {"name": "FTJOB_AGENT_CONFIG", "value": told.config_json.replace("$(", "$$(")},
        {
            "name": "FTJOB_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": secret_name(job), "key": TOKEN_KEY}},
        },
        {"name": "FTJOB_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "FTJOB_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        # `command` and `args` are the agent's now, but may name these as $(FTJOB_INDEX) and so on.
        {"name": "FTJOB_INDEX", "value": str(worker.index)},
        {"name": "FTJOB_ATTEMPT", "value": str(layout.attempt)},
        {"name": "FTJOB_OUTPUTS", "value": OUTPUTS_DIR},
        {"name": "FTJOB_CHECKPOINT_DIR", "value": f"{OUTPUTS_DIR}/checkpoints"},
    ]
    mounts = trainer.setdefault("volumeMounts", [])
    mounts.append({"name": AGENT_NAME, "mountPath": AGENT_DIR})
    outputs_mount = {"name": OUTPUTS_VOLUME, "mountPath": OUTPUTS_DIR}
    if job.spec.outputs is not None:
        outputs_mount["subPath"] = outputs_path(job)
    mounts.append(outputs_mount)
    # Where the agent is killed before its last word, the end of the log is the next best evidence.
    trainer["terminationMessagePolicy"] = "FallbackToLogsOnError"
    trainer.pop("terminationMessagePath", None)
