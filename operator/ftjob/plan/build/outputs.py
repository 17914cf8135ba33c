"""Where a job's outputs lie, and short-lived pods that come to read them or to write there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import items, mapping
from ftjob.models.names import LABEL_UID
from ftjob.models.spec import template_of
from ftjob.plan.build.objects import claim_name
from ftjob.plan.build.topology import HOST_LABEL

if TYPE_CHECKING:
    from ftjob.api.job import Job


def outputs_claim(job: Job) -> str:
    """Return the name of the claim: the one that the job names, or ours."""
    outputs = job.spec.outputs
    return (outputs.claim_name if outputs else None) or claim_name(job)


def outputs_path(job: Job) -> str:
    """Return the job's folder in the outputs volume."""
    outputs = job.spec.outputs
    return (outputs.path if outputs else None) or f"{job.namespace}/{job.name}/{job.uid}"


def visitor(job: Job, seconds: int) -> dict[str, Any]:
    """Return what the specs of all pods have in common that come for so many seconds at most.

    They have no token, go where the workers may go, and prefer to be beside them: there is a volume that one
    node alone may mount.
    """
    selector = {"matchLabels": {LABEL_UID: job.uid}}
    beside = {"weight": 1, "podAffinityTerm": {"labelSelector": selector, "topologyKey": HOST_LABEL}}
    pod = mapping(template_of(job.spec), "spec")
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [beside]}},
        **{key: pod[key] for key in ("imagePullSecrets", "tolerations") if items(pod, key)},
    }
