"""The pod that writes reports into a job's outputs: the operator's image, the ranks' user, no token.

It runs as whom the ranks run as, since theirs are the folders. It needs no network and no rights.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ftjob.models.manifest import mapping, trainer_in
from ftjob.models.names import API_VERSION, KIND, LABEL_COLLECTS
from ftjob.models.spec import template_of
from ftjob.models.template import OUTPUTS_VOLUME
from ftjob.plan.build.objects import child_meta
from ftjob.plan.build.outputs import outputs_claim, outputs_path, visitor
from ftjob.plan.observed.collector import CONTAINER, WHOLE_JOB
from ftjob_protocol import variables

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.models.manifest import Manifest
    from ftjob.plan.plan import CollectorImage

SECONDS = 600
"""A collector that runs for longer is ended by the kubelet."""
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
"""What it takes is bounded by itself, too (`ftjob.insight.__main__`)."""
FOLDER = "/outputs"

_TOLD = ("phase", "attempt", "startTime", "runningTime", "completionTime", "progress", "timeline", "failure")
_OF_THE_POD = ("fsGroup", "supplementalGroups", "supplementalGroupsPolicy")
_OF_BOTH = ("runAsUser", "runAsGroup", "runAsNonRoot", "seLinuxOptions")


def collector_name(job: str, uid: str, about: str) -> str:
    """Return the name of the pod; the UID in it keeps an earlier job's out of the way."""
    what = "" if about == WHOLE_JOB else f"-{about}"
    return f"{job}-{uid[:8]}-report{what}"


def build_collector(job: Job, about: str, image: CollectorImage) -> Manifest:
    """Return the pod that writes the reports of one capture, or of the whole job."""
    template = template_of(job.spec)
    meta = child_meta(job, collector_name(job.name, job.uid, about))
    meta["labels"][LABEL_COLLECTS] = about
    pod = mapping(template, "spec")
    container = {
        "name": CONTAINER,
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "command": [*image.command, "write", FOLDER, *([about] if about != WHOLE_JOB else [])],
        "env": [{"name": variables.REPORTED_JOB, "value": _told(job).replace("$(", "$$(")}],
        "resources": RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _of_the_container(pod, trainer_in(template)),
        "volumeMounts": [
            {"name": OUTPUTS_VOLUME, "mountPath": FOLDER, "subPath": outputs_path(job)},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  a volume of its own
        ],
    }
    spec = visitor(job, SECONDS) | {
        "securityContext": _of_the_pod(pod),
        "containers": [container],
        "volumes": [
            {"name": OUTPUTS_VOLUME, "persistentVolumeClaim": {"claimName": outputs_claim(job)}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _of_the_pod(pod: dict[str, Any]) -> dict[str, Any]:
    found = mapping(pod, "securityContext")
    context = {key: found[key] for key in (*_OF_THE_POD, *_OF_BOTH) if found.get(key) is not None}
    context["seccompProfile"] = {"type": "RuntimeDefault"}
    if "fsGroup" in context:
        context["fsGroupChangePolicy"] = "OnRootMismatch"
    return context


def _of_the_container(pod: dict[str, Any], trainer: dict[str, Any]) -> dict[str, Any]:
    found = mapping(trainer, "securityContext")
    context = {key: found[key] for key in _OF_BOTH if found.get(key) is not None}
    everywhere = mapping(pod, "securityContext") | context
    capabilities: dict[str, Any] = {"drop": ["ALL"]}
    if everywhere.get("runAsUser") is None and not everywhere.get("runAsNonRoot"):
        # The ranks' user is their image's, most often root. Another one's folders take this capability.
        context["runAsUser"] = 0
        capabilities["add"] = ["DAC_OVERRIDE"]
    return context | {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": capabilities,
    }


def _told(job: Job) -> str:
    """Return what the report says of the job, as ``job.yaml`` in the outputs of a local run has it.

    An environment variable has room for 128 KiB (MAX_ARG_STRLEN in Linux' include/uapi/linux/binfmts.h).
    """
    status = {key: value for key, value in job.status.to_wire().items() if key in _TOLD}
    if job.status.profile is not None:
        shown = job.status.profile.model_copy(update={"captures": []})
        status["profile"] = shown.model_dump(mode="json", by_alias=True, exclude_none=True)
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": job.name, "namespace": job.namespace, "uid": job.uid},
        # What ran: the strategy, and which code if the job has brought any.
        "spec": job.spec.model_dump(
            mode="json", by_alias=True, include={"strategy", "code"}, exclude_none=True
        ),
        "status": status,
    }
    return json.dumps(body, separators=(",", ":"))
