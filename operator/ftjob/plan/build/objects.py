"""The objects of an attempt: Service, Secret, claim and pods, as manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftjob.models.names import API_VERSION, KIND, LABEL_JOB, LABEL_UID, MANAGED_BY
from ftjob.models.spec import AccessMode, WhenDeleted
from ftjob.plan.build.token import job_token
from ftjob_protocol import files

if TYPE_CHECKING:
    from ftjob.api.job import Job, JobHead
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import Config


def service_name(job: JobHead) -> str:
    """Return the name of the headless Service, the pods' subdomain."""
    return job.name


def secret_name(job: JobHead) -> str:
    """Return the name of the Secret with the token; the UID in it keeps an earlier job's out of the way."""
    return f"{job.name}-{job.uid[:8]}-agent"


def claim_name(job: JobHead) -> str:
    """Return the name of the outputs claim that we make."""
    return f"{job.name}-outputs"


def owner_reference(job: JobHead) -> dict[str, Any]:
    """Return the owner reference of our objects: controller, but never blocking the owner's deletion."""
    return {"apiVersion": API_VERSION, "kind": KIND, "name": job.name, "uid": job.uid, "controller": True}


def child_meta(job: JobHead, name: str) -> dict[str, Any]:
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
    """Return the Secret with the job's token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_meta(job, secret_name(job)),
        "immutable": True,
        "type": "Opaque",
        "stringData": {files.TOKEN: job_token(config.agent_key, job.uid)},
    }


def build_claim(job: Job, config: Config) -> Manifest | None:
    """Return the outputs claim, or None if the job names one or has no outputs.

    With ``whenDeleted: Retain`` it has no owner, so that results outlive the job.
    """
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
