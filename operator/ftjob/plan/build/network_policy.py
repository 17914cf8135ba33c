"""The NetworkPolicy of a job: who may open connections to its pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.defaults import roles_of
from ftjob.models.names import LABEL_UID
from ftjob.models.spec import template_of
from ftjob.plan.build.objects import child_meta
from ftjob.plan.layout import agent_port

if TYPE_CHECKING:
    from ftjob.api.job import Job, JobHead
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import Config

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The API server sets it on every namespace (kubernetes.io/docs/reference/labels-annotations-taints)."""


def network_policy_name(job: JobHead) -> str:
    """Return its name. Users name policies too, after their jobs for instance: the UID keeps these apart."""
    return f"{job.name}-{job.uid[:8]}"


def build_network_policy(job: Job, config: Config) -> Manifest | None:
    """Return the policy that lets in the job's own pods and, to the agents' port, the operator.

    None if the installation makes no policies, or if pods of the job are in their node's network: no policy
    holds for such pods, nor lets them in, since they have the node's address
    (kubernetes.io/docs/concepts/services-networking/network-policies, "NetworkPolicy and hostNetwork pods").
    """
    operator = config.network_policy_from
    if operator is None or _has_host_network(job):
        return None
    own_pods = {"podSelector": {"matchLabels": {LABEL_UID: job.uid}}}
    operator_pods = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: operator.namespace}},
        "podSelector": {"matchLabels": dict(operator.labels)},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_meta(job, network_policy_name(job)),
        "spec": {
            **own_pods,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [own_pods]},
                {"from": [operator_pods], "ports": [{"protocol": "TCP", "port": agent_port(job.uid)}]},
            ],
        },
    }


def _has_host_network(job: Job) -> bool:
    templates = (template_of(job.spec, role) for role in roles_of(job.spec))
    return any((template.get("spec") or {}).get("hostNetwork") for template in templates)
