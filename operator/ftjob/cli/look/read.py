"""Looks at a job in the cluster with its user's own rights. What may not be read is said, and is no error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ftjob.cli.look.seen import MOUNTS, PULLING, Seen, read_claim, read_event, read_node, read_quota, time_of
from ftjob.client import ClusterError, JobInvalid
from ftjob.client.errors import NotServed
from ftjob.models.layout import rank_order
from ftjob.models.manifest import conditions_of, items, mapping, trainer_in
from ftjob.models.names import (
    KUEUE_LABEL,
    KUEUE_PREBUILT,
    KUEUE_VERSIONS,
    LABEL_COLLECTS,
    LABEL_UID,
)
from ftjob.models.status import ConditionType, Phase
from ftjob.plan.observed.kueue_admission import read_workload
from ftjob.plan.observed.pod import read_pod
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.cli.look.seen import ClaimSeen, EventSeen, NodeSeen, QuotaSeen
    from ftjob.client import JobHandle
    from ftjob.client.cluster import Body
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob.plan.observed.pod import PodState

EVENT_PAGES = 4
"""More warnings of a namespace are not looked through."""
NODES_MAX = 16
EXPECTED = ("WaitForFirstConsumer", "ExternalProvisioning", "Provisioning")
"""Events of a claim that waits as it should."""
VISIBILITY = ("visibility.kueue.x-k8s.io/v1beta2", "visibility.kueue.x-k8s.io/v1beta1")


def look_at(job: JobHandle) -> Seen:
    """Return what its user may see of a job as it was last read."""
    return _Look(job).seen()


class _Look:
    def __init__(self, job: JobHandle) -> None:
        self._job, self._cluster = job, job.cluster
        self._core = f"/api/v1/namespaces/{job.namespace}"
        self._unread: list[str] = []

    def seen(self) -> Seen:
        """Return all of it."""
        job, status, now = self._job, self._job.status, time.time()
        meta = mapping(job.body, "metadata")
        found = self._pods(now)
        raw = [one for one, _ in found]
        pods = {each.place: each for _, each in found}
        is_over = status.phase is not None and status.phase.is_final
        claims = () if is_over else self._claims(raw)
        uids = {str(mapping(each, "metadata").get("uid")) for each in raw}
        workload = self._workload()
        return Seen(
            name=job.name,
            namespace=job.namespace,
            created=time_of(meta.get("creationTimestamp"), now),
            now=now,
            status=status,
            labels={name: str(text) for name, text in mapping(meta, "labels").items()},
            pods=tuple(pods[place] for place in sorted(pods, key=rank_order)),
            events=() if is_over else self._events(uids, claims),
            nodes=() if is_over else tuple(map(self._node, _nodes_to_see(raw))),
            claims=claims,
            quotas=self._quotas(),
            workload=workload,
            position=self._position(workload),
            unread=tuple(self._unread),
        )

    def _list(self, what: str, path: str, *, pages: int = 0, **query: str) -> list[Body] | None:
        """Return a list; None if it can't be read, which is remembered, or is not served, which is not."""
        try:
            return self._cluster.items(path, pages=pages, **query)
        except NotServed:
            return None
        except (ClusterError, JobInvalid) as error:
            self._unread.append(f"{what}: {error}")
            return None

    def _pods(self, now: float) -> list[tuple[Body, PodState]]:
        """Return the pods of the present attempt."""
        selector = f"{LABEL_UID}={self._job.uid},!{LABEL_COLLECTS}"
        found = self._list("pods", f"{self._core}/pods", labelSelector=selector) or []
        attempt = self._job.status.pod_attempt
        read = ((each, read_pod(each, trainer=str(trainer_in(each).get("name")), seen=now)) for each in found)
        return [(raw, pod) for raw, pod in read if pod.attempt == attempt]

    def _events(self, uids: set[str], claims: tuple[ClaimSeen, ...]) -> tuple[EventSeen, ...]:
        path, found = f"{self._core}/events", []
        if uids:
            about = {"fieldSelector": "involvedObject.kind=Pod,type=Warning"}
            said = self._list("events", path, pages=EVENT_PAGES, **about) or []
            if any(each.get("reason") in MOUNTS for each in said):  # it may be over
                about = {"fieldSelector": f"involvedObject.kind=Pod,reason={PULLING}"}
                said += self._list("events", path, pages=EVENT_PAGES, **about) or []
            found += [each for each in said if mapping(each, "involvedObject").get("uid") in uids]
        for claim in claims:
            if claim.phase not in {"", "Bound"}:
                name = f"involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim.name}"
                about = {"fieldSelector": ",".join((name, *(f"reason!={each}" for each in EXPECTED)))}
                found += self._list(f"events of claim {claim.name}", path, pages=1, **about) or []
        return tuple(sorted(map(read_event, found), key=lambda event: -event.last))

    def _node(self, name: str) -> NodeSeen:
        found = self._list(f"node {name}", "/api/v1/nodes", fieldSelector=f"metadata.name={name}")
        return read_node(name, found if found is not None else [{"status": {"conditions": [_WELL]}}])

    def _claims(self, pods: list[Body]) -> tuple[ClaimSeen, ...]:
        """Return the claims that pods mount which do not run."""
        names = {
            str(mapping(volume, "persistentVolumeClaim").get("claimName"))
            for pod in pods
            if mapping(pod, "status").get("phase") == "Pending"
            for volume in items(mapping(pod, "spec"), "volumes")
            if mapping(volume, "persistentVolumeClaim")
        }
        found = self._list("claims", f"{self._core}/persistentvolumeclaims") if names else None
        return tuple(read_claim(name, found) for name in sorted(names)) if found is not None else ()

    def _quotas(self) -> tuple[QuotaSeen, ...]:
        """Return the namespace's quotas, if one may be what keeps pods from being created."""
        said = (self._job.status.condition(kind) for kind in (ConditionType.ADMITTED, ConditionType.RUNNING))
        if not any(each is not None and each.reason == Reason.FORBIDDEN for each in said):
            return ()
        return tuple(map(read_quota, self._list("quotas", f"{self._core}/resourcequotas") or []))

    def _workload(self) -> WorkloadState | None:
        """Return the job's Workload of Kueue."""
        meta = mapping(self._job.body, "metadata")
        prebuilt = {**mapping(meta, "labels"), **mapping(meta, "annotations")}.get(KUEUE_PREBUILT)
        if not prebuilt and not mapping(meta, "labels").get(KUEUE_LABEL):
            return None
        for version in KUEUE_VERSIONS:
            path = f"/apis/{version}/namespaces/{self._job.namespace}/workloads"
            found = self._list("Kueue's Workload", path)
            if found is None:
                continue
            for each in found:
                owners = items(mapping(each, "metadata"), "ownerReferences")
                ours = any(owner.get("uid") == self._job.uid for owner in owners)
                if ours or mapping(each, "metadata").get("name") == prebuilt:
                    return read_workload({"apiVersion": version, **each})
            return None
        return None

    def _position(self, workload: WorkloadState | None) -> int | None:
        """Return how many are before the job in its queue, if Kueue tells that."""
        if workload is None or self._job.status.phase is not Phase.QUEUED or not workload.queue:
            return None
        queue = f"namespaces/{self._job.namespace}/localqueues/{workload.queue}"
        for version in VISIBILITY:
            path = f"/apis/{version}/{queue}/pendingworkloads"
            found = self._list("the position in Kueue's queue", path)
            for each in found or ():
                if mapping(each, "metadata").get("name") == workload.name:
                    return int(each.get("positionInLocalQueue") or 0)
            if found is not None:
                break
        return None


_WELL = {"type": "Ready", "status": "True"}
"""Of a node that its user may not see: nothing is known against it."""


def _nodes_to_see(pods: list[Body]) -> list[str]:
    """Return the nodes of pods that have begun and are not well."""
    found = []
    for pod in pods:
        node, status = mapping(pod, "spec").get("nodeName"), mapping(pod, "status")
        is_ready = conditions_of(status).get("Ready", {}).get("status") == "True"
        is_over = status.get("phase") in {"Succeeded", "Failed"}
        if node and not is_over and (not is_ready or "deletionTimestamp" in mapping(pod, "metadata")):
            found.append(str(node))
    return list(dict.fromkeys(found))[:NODES_MAX]
