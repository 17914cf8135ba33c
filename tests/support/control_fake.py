"""An API server in memory, for the logic around it: names, versions, UIDs, and chosen refusals."""

import copy
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from ftjob.api.job import Job
from ftjob.control.cache.cache import Cache
from ftjob.control.context import Context
from ftjob.control.leaders.agent_client import Agents
from ftjob.control.leaders.orders import Orders
from ftjob.control.observability.events import Events
from ftjob.control.observability.metrics import Metrics
from ftjob.control.observability.pace import Pace
from ftjob.control.queue import Queue
from ftjob.control.watching.discovery import Discovery
from ftjob.kube.client import Page
from ftjob.kube.errors import ApiError, ConflictError, ForbiddenError, NotFoundError
from ftjob.kube.resources import JOB, Resource, resource_of
from ftjob.models.names import LABEL_ATTEMPT, LABEL_INDEX, LABEL_JOB, LABEL_ROLE, LABEL_UID
from ftjob.plan.plan import Config

Manifest = dict[str, Any]


@dataclass
class Clock:
    """A clock that the test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeKube:
    """The port, in memory."""

    objects: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    refusals: dict[str, ApiError] = field(default_factory=dict)
    """What creating or replacing an object of this name ends in."""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    """Verb, kind and name of each request, in order."""
    kinds: set[tuple[str, str]] = field(default_factory=set)
    """(apiVersion, kind) of what is served."""
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def put(self, body: Manifest) -> Manifest:
        """Store an object as a new version."""
        body = copy.deepcopy(body)
        number = str(next(self.numbers))
        body["metadata"].setdefault("uid", f"uid-{number}")
        body["metadata"]["resourceVersion"] = number
        self.objects[_key(body)] = body
        return copy.deepcopy(body)

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        self.calls.append(("get", resource.kind, name))
        return copy.deepcopy(self._find(resource, namespace, name))

    async def list_pages(
        self, resource: Resource, namespace: str | None, *, selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[Page]:
        self.calls.append(("list", resource.kind, ""))
        for (kind, space, _), body in list(self.objects.items()):
            labels = body["metadata"].get("labels", {})
            if kind == resource.kind and namespace in {None, space} and (not selector or selector in labels):
                found = {"metadata": body["metadata"]} if metadata_only else body
                yield Page([copy.deepcopy(found)], "0")

    async def watch(
        self, resource: Resource, namespace: str | None, *, selector: str = "", version: str
    ) -> AsyncIterator[tuple[str, Manifest]]:
        self.calls.append(("watch", resource.kind, version))
        raise ForbiddenError(403, "Forbidden", "this API server has no watches")
        yield "", {}

    async def served(self) -> frozenset[tuple[str, str]]:
        self.calls.append(("list", "APIGroupDiscoveryList", ""))
        return frozenset(self.kinds)

    async def create(self, manifest: Manifest) -> Manifest:
        self.calls.append(("create", manifest["kind"], manifest["metadata"]["name"]))
        self._refuse(manifest)
        if _key(manifest) in self.objects:
            raise ConflictError(409, "AlreadyExists", "it is there")
        return self.put(manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        self.calls.append(("replace", manifest["kind"], manifest["metadata"]["name"]))
        self._refuse(manifest)
        meta = manifest["metadata"]
        old = self._find(resource_of(manifest), meta["namespace"], meta["name"])
        if old["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            raise ConflictError(409, "Conflict", "it has changed")
        return self.put(manifest)

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Manifest, *, resource_version: str
    ) -> Manifest:
        self.calls.append(("patch_status", resource.kind, name))
        old = self._find(resource, namespace, name)
        if old["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError(409, "Conflict", "it has changed")
        return self.put({**old, "status": merge(old.get("status", {}), status)})

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Manifest, *, resource_version: str
    ) -> Manifest:
        self.calls.append(("patch_metadata", resource.kind, name))
        old = self._find(resource, namespace, name)
        if old["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError(409, "Conflict", "it has changed")
        return self.put({**old, "metadata": merge(old["metadata"], metadata)})

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> Manifest:
        self.calls.append(("delete", resource.kind, name))
        old = self._find(resource, namespace, name)
        if old["metadata"]["uid"] != uid:
            raise ConflictError(409, "Conflict", "another UID")
        return self.objects.pop((resource.kind, namespace, name))

    def _find(self, resource: Resource, namespace: str, name: str) -> Manifest:
        try:
            return self.objects[resource.kind, namespace, name]
        except KeyError:
            raise NotFoundError(404, "NotFound", f"no {resource.kind} {name}") from None

    def _refuse(self, manifest: Manifest) -> None:
        error = self.refusals.get(manifest["metadata"]["name"])
        if error is not None:
            raise error


def merge(old: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def _key(body: Manifest) -> tuple[str, str, str]:
    return body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]


def job_body(name: str = "digits", *, uid: str = "job-1", version: str = "1", **more: Any) -> Manifest:
    """Return a job as the API server gives it."""
    container = {"name": "trainer", "image": "x", "command": ["python"]}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "resourceVersion": version,
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"strategy": "Plain", "workers": 2, "template": {"spec": {"containers": [container]}}},
        **more,
    }


def owner(uid: str = "job-1", name: str = "digits") -> Manifest:
    """Return the owner reference of what belongs to a job."""
    return {"apiVersion": JOB.api_version, "kind": JOB.kind, "name": name, "uid": uid, "controller": True}


def pod_body(
    index: int,
    *,
    uid: str = "",
    job_uid: str = "job-1",
    version: str = "10",
    attempt: int = 0,
    state: Manifest | None = None,
    **status: Any,
) -> Manifest:
    """Return a worker pod of job ``digits`` as the API server gives it."""
    env = [{"name": "FTJOB_AGENT_CONFIG", "value": "{}"}]
    if state is not None:
        status["containerStatuses"] = [{"name": "main", "state": state}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"digits-worker-{attempt}-{index}",
            "namespace": "default",
            "uid": uid or f"pod-{attempt}-{index}",
            "resourceVersion": version,
            "labels": {
                LABEL_JOB: "digits",
                LABEL_UID: job_uid,
                LABEL_ROLE: "worker",
                LABEL_INDEX: str(index),
                LABEL_ATTEMPT: str(attempt),
            },
            "ownerReferences": [owner(job_uid)],
        },
        "spec": {"containers": [{"name": "proxy"}, {"name": "main", "env": env}]},
        "status": status,
    }


def context_of(
    kube: FakeKube, cache: Cache, *, key: bytes = b"", clock: Callable[[], float] = time.time
) -> Context:
    """Return what the effects work with; the agents' tokens follow from ``key``."""
    agents, queue = Agents(key), Queue()
    return Context(
        kube=kube,
        cache=cache,
        queue=queue,
        pace=Pace(),
        events=Events(kube, "test"),
        agents=agents,
        orders=Orders(agents, cache, queue),
        metrics=Metrics(),
        discovery=Discovery(kube),
        config=Config(agent_key=key),
        clock=clock,
    )


def context(body: Manifest | None = None) -> tuple[Context, FakeKube, Job]:
    """Return an operator that has seen one job, the API server in memory, and the job."""
    kube, cache = FakeKube(), Cache()
    key = cache.update(JOB, kube.put(body or job_body()))
    job = cache.job(key) if key is not None else None
    assert isinstance(job, Job)
    return context_of(kube, cache, key=b"key", clock=lambda: 1000.0), kube, job
