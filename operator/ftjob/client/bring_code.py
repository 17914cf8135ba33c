"""Creating a job that brings code along: the job first, suspended, then its ConfigMap, then the job may run.

So the ConfigMap has an owner from its first moment on, and goes with it. Who is killed half-way leaves a
suspended job, which holds nothing and which `list` shows: never one whose pods wait for code, nor a ConfigMap
of no job.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ftjob.client.errors import ClusterError, Conflict, JobInvalid, NotFound
from ftjob.client.handle import path_of
from ftjob.code.errors import CodeError
from ftjob.code.pack import Archive, pack
from ftjob.models.manifest import mapping
from ftjob.models.names import API_VERSION, KIND, LABEL_COMPONENT, LABEL_JOB, MANAGED_BY
from ftjob_protocol.files import CODE_ARCHIVE

if TYPE_CHECKING:
    from pathlib import Path

    from ftjob.client.cluster import Body, Cluster, Query

COMPONENT = "code"
TRIES = 5


def packed(code: str | Path | Archive) -> Archive:
    """Return a folder's code as an archive.

    Raises
    ------
    JobInvalid
        It can't be packed.
    """
    if isinstance(code, Archive):
        return code
    try:
        return pack(code)
    except CodeError as error:
        raise JobInvalid(str(error)) from None


def config_map(job: Body, archive: Archive) -> dict[str, Any]:
    """Return the ConfigMap with a job's code; without an owner if the job is not there yet."""
    meta, code = mapping(job, "metadata"), mapping(job, "spec", "code")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": code["configMap"],
            **({"namespace": meta["namespace"]} if meta.get("namespace") else {}),
            "labels": {**MANAGED_BY, LABEL_COMPONENT: COMPONENT, LABEL_JOB: meta["name"]},
            **({"ownerReferences": [_owner(job)]} if meta.get("uid") else {}),
        },
        "immutable": True,
        "binaryData": {CODE_ARCHIVE: base64.b64encode(archive.content).decode()},
    }


def create(cluster: Cluster, body: Body, archive: Archive | None, query: Query) -> Body:
    """Create a job and see that its code is there; return the job.

    Parameters
    ----------
    archive
        Its code; None if the ConfigMap that the job names is another job's, which is shared.
    query
        For the request that creates the job; a dry run creates nothing.
    """
    namespace, name = str(body["metadata"]["namespace"]), body["metadata"].get("name")
    if not name:
        raise JobInvalid("metadata.name: the code's ConfigMap is named after the job; give the job a name")
    place = path_of(namespace)
    if "dryRun" in query or archive is None:
        _look(cluster, body, archive, query)
    if "dryRun" in query:
        return cluster.create(place, body, **query)
    wanted = bool(mapping(body, "spec").get("suspend"))
    job = cluster.create(place, {**body, "spec": {**body["spec"], "suspend": True}}, **query)
    uid = job["metadata"]["uid"]
    try:
        _keep(cluster, job, archive)
        if wanted:
            return job
        return cluster.patch(f"{place}/{name}", {"metadata": {"uid": uid}, "spec": {"suspend": False}})
    except BaseException:
        with suppress(ClusterError):
            cluster.delete(f"{place}/{name}", {"preconditions": {"uid": uid}})
        raise


def _look(cluster: Cluster, job: Body, archive: Archive | None, query: Query) -> None:
    """See that the code is there, or could be made."""
    found = _found(cluster, job)
    if found is not None:
        _see_that_it_is_right(found, job)
    elif archive is None:
        name = mapping(job, "spec", "code").get("configMap")
        raise JobInvalid(
            f"spec.code.configMap: there is no ConfigMap {name} in namespace {job['metadata']['namespace']}; "
            "bring the code along once more by --code"
        )
    else:
        only = {key: query[key] for key in ("dryRun",) if key in query}
        cluster.create(_place(job), config_map(job, archive), **only)


def _keep(cluster: Cluster, job: Body, archive: Archive | None) -> None:
    """See that the code is there, and stays for as long as this job."""
    for _ in range(TRIES):
        found = _found(cluster, job)
        if found is not None:
            _see_that_it_is_right(found, job)
        try:
            if found is not None:
                _share(cluster, job, found)
                return
            if archive is not None:
                cluster.create(_place(job), config_map(job, archive))
                return
        except (Conflict, NotFound):  # it has come, gone or changed meanwhile
            continue
    raise Conflict(f"the ConfigMap with the code of {job['metadata']['name']} comes and goes; try again")


def _share(cluster: Cluster, job: Body, found: Body) -> None:
    """Let another job's code live as long as this job, too."""
    meta = mapping(found, "metadata")
    if mapping(meta, "labels").get(LABEL_COMPONENT) != COMPONENT:
        return  # somebody else has made it, and it goes when they want it to
    owners = meta.get("ownerReferences") or []
    change = {"resourceVersion": meta["resourceVersion"], "ownerReferences": [*owners, _owner(job)]}
    cluster.patch(_place(job, str(meta["name"])), {"metadata": change})


def _found(cluster: Cluster, job: Body) -> Body | None:
    try:
        return cluster.get(_place(job, str(mapping(job, "spec", "code").get("configMap"))))
    except NotFound:
        return None


def _see_that_it_is_right(found: Body, job: Body) -> None:
    code = mapping(job, "spec", "code")
    name = code.get("configMap")
    try:
        content = base64.b64decode(mapping(found, "binaryData").get(CODE_ARCHIVE) or "")
    except ValueError:
        content = b""
    if hashlib.sha256(content).hexdigest() != code.get("sha256"):
        raise Conflict(f"there is a ConfigMap {name} with other code; delete it, or name the job otherwise")
    if mapping(found, "metadata").get("deletionTimestamp"):
        raise Conflict(f"ConfigMap {name} with the code is being deleted; try again when it is gone")


def _place(job: Body, name: str = "") -> str:
    path = f"/api/v1/namespaces/{job['metadata']['namespace']}/configmaps"
    return f"{path}/{name}" if name else path


def _owner(job: Body) -> dict[str, Any]:
    """Return the reference of one owner among several: not the one that controls it."""
    meta = job["metadata"]
    return {"apiVersion": API_VERSION, "kind": KIND, "name": meta["name"], "uid": meta["uid"]}
