"""Bringing a job's outputs here, as far as reports need them: by a pod of seconds that only reads them.

The pod is of the job's own image, which its nodes have and in which there is a Python. What it sends was
written by anybody: names are looked at one by one, and no link is made or followed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from ftjob.api.job import Job, parse_job
from ftjob.client import ClusterError, JobInvalid
from ftjob.models.manifest import conditions_of, items, mapping, trainer_in
from ftjob.models.names import API_VERSION, KIND, LABEL_COMPONENT, MANAGED_BY
from ftjob.models.spec import template_of
from ftjob.plan.build.outputs import outputs_claim, outputs_path, visitor
from ftjob_protocol import files
from ftjob_protocol.files.nofollow import Folder

if TYPE_CHECKING:
    from ftjob.client import JobHandle
    from ftjob.client.cluster import Cluster

REPORTS = "ftjob-reports"
"""The folder, below the present one, where reports of jobs in a cluster come to lie."""
MODE = 0o700
FILE_BYTES = 1 << 30
ALL_BYTES = 16 << 30
START_SECONDS = 180
LIFE_SECONDS = 900
"""The kubelet ends a pod that is left behind."""
LAST_SECONDS = 10
TOLD_BYTES = 1 << 16
MOUNT = "/outputs"

# Python 3.9. Links are left out, and a file that another process is writing comes as long as it was.
_SEND = f"""\
import os, sys, tarfile
raw = sys.argv[1:] == ["raw"]
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT)
for folder, _, names in os.walk("{MOUNT}"):
    parts = os.path.relpath(folder, "{MOUNT}").split(os.sep)
    top = parts[0]
    light = parts == ["."] or top == "{files.VITALS}" or (top == "{files.CAPTURES}" and len(parts) == 2)
    if not light and not (raw and top in ("{files.CAPTURES}", "{files.PLUGINS}")):
        continue
    for name in names:
        path = os.path.join(folder, name)
        if parts == ["."] and name not in ("{files.JOB}", "{files.REPORT}") or os.path.islink(path):
            continue
        try:
            with open(path, "rb") as file:
                info = out.gettarinfo(arcname=os.path.relpath(path, "{MOUNT}"), fileobj=file)
                if info.isreg():
                    out.addfile(info, file)
        except OSError as error:
            sys.stderr.write(f"{{path}}: {{error.strerror or error}}\\n")
out.close()
"""


class FetchError(ClusterError):
    """The outputs could not be fetched; the text says why, and what to do about it."""


def fetch(job: JobHandle, options: list[str], *, raw: bool) -> Path:
    """Bring what reports are made of into a folder; with `raw` also what the profilers have written.

    Parameters
    ----------
    options
        By which kubectl goes to the job's cluster: what the pod sends comes through `kubectl exec`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    JobInvalid
        It has no outputs.
    ClusterError
        Nothing could be fetched, or not all of it.
    """
    target = Path(REPORTS) / f"{job.namespace}.{job.name}"
    pod = _pod(job)
    if shutil.which("kubectl") is None:
        raise FetchError(
            "a job's outputs come here through `kubectl exec`, and there is no kubectl: install it, or copy "
            "the volume"
        )
    name, pods = pod["metadata"]["name"], f"/api/v1/namespaces/{job.namespace}/pods"
    try:
        job.cluster.create(pods, pod)
    except (ClusterError, JobInvalid) as error:
        raise FetchError(f"no pod that reads the outputs of {job.name}: {error}") from None
    try:
        _wait(job.cluster, pods, name)
        target.mkdir(mode=MODE, parents=True, exist_ok=True)
        words = ["exec", name, f"--namespace={job.namespace}", *options, "--", "python3", "-IS", "-c", _SEND]
        _receive(["kubectl", *words, *["raw"] * raw], target)
    finally:
        with suppress(ClusterError):
            job.cluster.delete(f"{pods}/{name}", {"gracePeriodSeconds": 1})
    with Folder(str(target)) as folder:
        folder.write(files.JOB, json.dumps(job.body, indent=1).encode())
    return target


def _wait(cluster: Cluster, pods: str, name: str) -> None:
    """Wait until the pod runs."""
    status: dict[str, Any] = {}
    for event in cluster.watch(pods, seconds=START_SECONDS, fieldSelector=f"metadata.name={name}"):
        status = mapping(event["object"], "status")
        if conditions_of(status).get("Ready", {}).get("status") == "True":
            return
        if event["type"] == "DELETED" or status.get("phase") in {"Failed", "Succeeded"}:
            break
    why = _why(status) or f"does not run after {START_SECONDS} s"
    raise FetchError(f"pod {name}, which reads the outputs, {why}")


def _why(status: dict[str, Any]) -> str:
    """Return why a pod does not run, in Kubernetes' own words."""
    placed = conditions_of(status).get("PodScheduled", {})
    if placed.get("status") == "False":
        return f"was not placed: {placed.get('message')}"
    for container in items(status, "containerStatuses"):
        state = mapping(container, "state")
        for found in (mapping(state, "waiting"), mapping(state, "terminated")):
            if found:
                return f"did not start: {found.get('reason')} {found.get('message') or ''}".rstrip()
    return ""


def _receive(command: list[str], target: Path) -> None:
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        is_whole = False
        try:
            _unpack(process.stdout, target)
            is_whole = True
        except (tarfile.TarError, EOFError):
            with suppress(subprocess.TimeoutExpired):  # what the process says is nearer to the cause
                process.wait(LAST_SECONDS)
        except OSError as error:
            raise FetchError(f"{error.filename or target}: {error.strerror}") from None
        finally:
            if not is_whole:
                process.kill()
        code = process.wait()
        said.seek(0)
        lines = said.read(TOLD_BYTES).decode(errors="replace").strip().splitlines()
    if code or not is_whole:
        raise FetchError(f"the outputs were not sent: {lines[-1] if lines else 'the stream ended early'}")


def _unpack(stream: IO[bytes], target: Path) -> None:
    left = ALL_BYTES
    with Folder(str(target)) as top, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if not member.isreg() or path.is_absolute() or ".." in path.parts:
                continue
            left -= member.size
            if member.size > FILE_BYTES or left < 0:
                raise FetchError(
                    f"{member.name} and what is before it are too large: copy the volume instead"
                )
            source = archive.extractfile(member)
            if source is not None:
                _keep(top, path, source)


def _keep(top: Folder, path: PurePosixPath, source: IO[bytes]) -> None:
    with ExitStack() as end:
        folder = top if len(path.parts) == 1 else end.enter_context(top.enter(str(path.parent), MODE))
        descriptor = end.enter_context(folder.replacing(path.name))
        shutil.copyfileobj(source, end.enter_context(os.fdopen(descriptor, "wb", closefd=False)))


def _pod(found: JobHandle) -> dict[str, Any]:
    job = parse_job(found.body)
    if not isinstance(job, Job):
        raise JobInvalid(f"{found.name}: this version of ftjob can't read its spec; use the operator's")
    if job.spec.outputs is None:
        raise JobInvalid(f"{job.name} has no outputs, so nothing was kept; add `outputs: {{}}` to its spec")
    template = template_of(job.spec)
    pod, trainer = mapping(template, "spec"), trainer_in(template)
    mount = {"name": "outputs", "mountPath": MOUNT, "subPath": outputs_path(job), "readOnly": True}
    container = {
        "name": "reader",
        "image": trainer.get("image"),
        "command": ["python3", "-IS", "-c", f"import time; time.sleep({LIFE_SECONDS})"],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [mount],
    }
    container |= {
        key: trainer[key] for key in ("securityContext", "imagePullPolicy") if trainer.get(key) is not None
    }
    spec = visitor(job, LIFE_SECONDS) | {
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "outputs", "persistentVolumeClaim": {"claimName": outputs_claim(job)}}],
    }
    if pod.get("securityContext"):
        spec["securityContext"] = pod["securityContext"]
    meta = {
        "name": f"{job.name}-read-{secrets.token_hex(3)}",
        "namespace": job.namespace,
        "labels": {**MANAGED_BY, LABEL_COMPONENT: "reader"},
        "ownerReferences": [{"apiVersion": API_VERSION, "kind": KIND, "name": job.name, "uid": job.uid}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
