"""JAXJob (kubeflow.org/v1) as JAX: one process a pod, which drives all of its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.convert.fields.policy import backoff_limit, restart, run_policy
from ftjob.convert.fields.replicas import replicas_of
from ftjob.convert.fields.template import command_of

if TYPE_CHECKING:
    from ftjob.convert.draft import Draft


def convert(draft: Draft) -> None:
    """Fill the draft's spec."""
    run_policy(draft)
    roles = replicas_of(draft, "jaxReplicaSpecs", ("Worker",), ("jax",), {"jaxReplicaSpecs", "runPolicy"})
    worker = roles["worker"]
    command_of(draft, worker.template, worker.path)
    draft.spec |= {"strategy": "JAX", "workers": worker.replicas, "template": worker.template}
    restart(draft, worker.restart_policy, backoff_limit(draft))
