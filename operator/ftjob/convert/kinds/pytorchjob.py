"""PyTorchJob (kubeflow.org/v1) as Torchrun: Master and Worker are one group of equal workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.convert.draft import refused
from ftjob.convert.fields.policy import backoff_limit, restart, run_policy
from ftjob.convert.fields.replicas import Replicas, replicas_of
from ftjob.convert.fields.template import command_of, difference
from ftjob.convert.launchers.torchrun import take_torch_command
from ftjob.convert.read import mapping_in, number, number_in, objects_in
from ftjob.models.manifest import mapping
from ftjob.models.names import API_VERSION, KIND

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft

KNOWN = frozenset({"pytorchReplicaSpecs", "elasticPolicy", "nprocPerNode", "runPolicy"})
RENDEZVOUS = ("rdzvBackend", "rdzvHost", "rdzvPort", "rdzvId", "rdzvConf", "standalone")


def convert(draft: Draft) -> None:
    """Fill the draft's spec."""
    run_policy(draft)
    roles = replicas_of(draft, "pytorchReplicaSpecs", ("Master", "Worker"), ("pytorch",), extra=KNOWN)
    main = roles.get("worker") or roles["master"]
    template = main.template
    words = command_of(draft, template, main.path)
    if len(roles) == 2:
        _must_be_equal(draft, roles["master"], roles["worker"])
        draft.changed("spec.pytorchReplicaSpecs.Master", "it is worker 0, and like all others")
        draft.changed("success", "all workers have to succeed; before, the Master decided")
    draft.spec["strategy"] = "Torchrun"
    draft.spec["workers"] = sum(role.replicas for role in roles.values())
    elastic = mapping_in(draft.given, "elasticPolicy", "spec")
    limit = backoff_limit(draft)
    if elastic:
        limit = _elastic(draft, elastic, limit)
    restart(draft, main.restart_policy, limit)
    per_node = draft.given.get("nprocPerNode") or elastic.get("nProcPerNode")
    processes = None if per_node is None else str(per_node)
    field = "spec.nprocPerNode" if draft.given.get("nprocPerNode") else "spec.elasticPolicy.nProcPerNode"
    take_torch_command(draft, template, words, processes, field)
    draft.spec["template"] = template


def _must_be_equal(draft: Draft, master: Replicas, worker: Replicas) -> None:
    command_of(draft, master.template, master.path)
    for role in (master, worker):
        role.template["spec"]["containers"][0]["name"] = "trainer"
    field = difference(master.template, worker.template)
    if field is not None:
        raise refused(
            f"{master.path}.{field}",
            "Master and Worker differ in it, and the workers of Torchrun are all alike",
            "write the same in both",
        )
    if master.restart_policy != worker.restart_policy:
        draft.changed("restartPolicy", "it is that of Worker for all")


def _elastic(draft: Draft, given: dict[str, Any], limit: int | None) -> int | None:
    """Take over the bounds; return the limit of restarts."""
    path = "spec.elasticPolicy"
    workers = draft.spec["workers"]
    least = number_in(given, "minReplicas", path, workers)
    most = number_in(given, "maxReplicas", path, workers)
    draft.spec["elastic"] = {"minWorkers": least, "maxWorkers": most}
    for key in RENDEZVOUS:
        if given.get(key):
            draft.dropped(f"{path}.{key}", "ranks find each other by ftjob's own leader")
    draft.drop_others(
        given, path, {*RENDEZVOUS, "minReplicas", "maxReplicas", "maxRestarts", "nProcPerNode", "metrics"}
    )
    if given.get("metrics"):
        _scale(draft, objects_in(given, "metrics", path), least, most)
    return limit if given.get("maxRestarts") is None else number(given["maxRestarts"], f"{path}.maxRestarts")


def _scale(draft: Draft, metrics: list[dict[str, Any]], least: int, most: int) -> None:
    meta = mapping(draft.source, "metadata")
    if not meta.get("name"):
        draft.dropped("spec.elasticPolicy.metrics", "a HorizontalPodAutoscaler needs the job's name")
        return
    named = {key: meta[key] for key in ("name", "namespace") if meta.get(key)}
    draft.beside.append(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": named,
            "spec": {
                "scaleTargetRef": {"apiVersion": API_VERSION, "kind": KIND, "name": draft.name},
                "minReplicas": least,
                "maxReplicas": most,
                "metrics": metrics,
            },
        }
    )
    draft.changed("spec.elasticPolicy.metrics", "they are a HorizontalPodAutoscaler beside the job")
