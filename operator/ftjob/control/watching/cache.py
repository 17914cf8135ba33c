"""What the operator knows: jobs, their pods and other objects, as little of each as decisions need."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ftjob.api.job import AnyJob, parse_job
from ftjob.kube.resources import JOB, POD, Resource
from ftjob.models.names import LABEL_JOB, LABEL_UID, POD_GROUP
from ftjob.plan.gangs.arrange import read_group
from ftjob.plan.observed.kueue_admission import WorkloadState, read_workload
from ftjob.plan.observed.pod import PodState, read_pod
from ftjob.plan.observed.state import Answer, GroupState, LeaderState, Lookup, Observed, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftjob.control.queue import Key

Manifest = dict[str, Any]

AGENT_CONFIG = "FTJOB_AGENT_CONFIG"
"""The variable that only the trainer has (docs/agent-protocol.md, section 1)."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole job; nobody here reads it, so it is not kept."""

TOMBSTONES = 10_000


@dataclass
class _Family:
    """What belongs to one job, by its UID; it may be known before the job and outlive it."""

    key: Key
    pods: dict[str, PodState] = field(default_factory=dict)
    objects: set[tuple[str, str]] = field(default_factory=set)
    others: dict[str, GroupState | WorkloadState] = field(default_factory=dict)
    refusal: Refusal | None = None
    refused_generation: int = 0
    refused_times: int = 0
    leader: LeaderState | None = None
    last_ends: dict[int, float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing left to remember."""
        return not any(not pod.gone for pod in self.pods.values())


class Cache:
    """Everything that was seen, newest version of each object.

    Two writers feed it, the watches and the answers to our own writes, in any order: a newer
    resourceVersion wins, and what was deleted stays deleted.

    Parameters
    ----------
    clock
        Unix time, for the moment at which something was first seen.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._jobs: dict[Key, AnyJob] = {}
        self._families: dict[str, _Family] = {}
        self._uids: dict[Key, set[str]] = {}
        self._versions: dict[str, str] = {}
        self._places: dict[str, tuple[Resource, str, str, str]] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()
        self._dismissed: set[str] = set()
        self._answers: dict[Lookup, tuple[float, Answer]] = {}
        self.served: frozenset[tuple[str, str]] = frozenset()
        """(apiVersion, kind) of the optional kinds that the API server serves."""

    # -- what is seen ---------------------------------------------------------------------------------

    def see_job(self, body: Manifest) -> Key | None:
        """Take in a job; return its key if that is news."""
        if not self._is_news(body):
            return None
        (body["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)
        job = parse_job(body)
        old = self._jobs.get(job.key)
        if old is not None and old.uid != job.uid:
            self._lose_job(old)
        self._jobs[job.key] = job
        family = self._family(job.uid, job.key)
        if family.refusal is not None and family.refused_generation != job.generation:
            self.clear_refusal(job)
        return job.key

    def see_job_deleted(self, body: Manifest) -> Key | None:
        """Take in that a job is gone; return its key."""
        meta = body["metadata"]
        key = (meta.get("namespace") or "default", meta["name"])
        self._bury(meta["uid"])
        job = self._jobs.get(key)
        if job is not None and job.uid == meta["uid"]:
            del self._jobs[key]
            self._lose_job(job)
        return key

    def see_pod(self, body: Manifest) -> Key | None:
        """Take in a pod of ours; return the key of its job if decisions may depend on what changed."""
        family = self._place(POD, body)
        if family is None:
            return None
        pod = read_pod(body, trainer=trainer_name(body), seen=self._clock())
        old = family.pods.get(pod.uid)
        if old is not None and old.terminated and pod.terminated:
            pod = replace(pod, terminated=replace(pod.terminated, seen=old.terminated.seen))
        if old is not None and old.deleting and pod.deleting:
            pod = replace(pod, deleting_seen=old.deleting_seen)
        if old is not None and old.is_lost and pod.is_lost:
            pod = replace(pod, lost_seen=old.lost_seen)
        if pod.is_over and (old is None or not old.is_over):
            family.last_ends[pod.attempt] = self._clock()
        family.pods[pod.uid] = pod
        # Where a pod runs matters when something else about it changes.
        if old is not None and replace(old, node=pod.node, ip=pod.ip) == pod:
            return None
        return family.key

    def see_pod_deleted(self, body: Manifest) -> Key | None:
        """Take in the last state of a pod: it stays as evidence, unless we ordered its end."""
        meta = body["metadata"]
        self.see_pod(body)
        return self.pod_vanished(meta["uid"])

    def pod_vanished(self, uid: str) -> Key | None:
        """Take in that a pod does not exist any more; its last known state stays as evidence."""
        place = self._places.pop(uid, None)
        self._bury(uid)
        if place is None:
            return None
        family = self._families.get(place[3])
        if family is None or uid not in family.pods:
            return None
        if not family.pods[uid].is_over:
            family.last_ends[family.pods[uid].attempt] = self._clock()
        job = self._jobs.get(family.key)
        if uid in self._dismissed or job is None or job.uid != place[3]:
            del family.pods[uid]
            self._dismissed.discard(uid)
        else:
            family.pods[uid] = replace(family.pods[uid], gone=True, deleting=True)
        self._tidy(place[3])
        return family.key

    def see_object(self, resource: Resource, body: Manifest) -> Key | None:
        """Take in that a watched object of ours (a Service) exists; return its job's key if that is news."""
        family = self._place(resource, body)
        if family is None:
            return None
        what = (resource.kind, body["metadata"]["name"])
        known = what in family.objects
        family.objects.add(what)
        return None if known else family.key

    def see_other(self, resource: Resource, body: Manifest) -> Key | None:
        """Take in a PodGroup or Workload of ours; return its job's key if what we read of it is news."""
        meta = body["metadata"]
        self.forget(Lookup(resource.api_version, resource.kind, meta["name"], meta["namespace"]))
        family = self._place(resource, body)
        if family is None:
            return None
        other = read_group(body) if resource.kind == POD_GROUP else read_workload(body)
        known = family.others.get(other.uid) == other
        family.others[other.uid] = other
        return None if known else family.key

    def answer(self, lookup: Lookup, answer: Answer) -> None:
        """Remember what was read at a decision's request, for as long as it holds."""
        now = self._clock()
        self._answers = {key: found for key, found in self._answers.items() if found[0] > now}
        self._answers[lookup] = (now + lookup.holds_seconds, answer)

    def forget(self, lookup: Lookup) -> None:
        """Forget what was read: it has changed."""
        self._answers.pop(lookup, None)

    def see_object_deleted(self, uid: str) -> Key | None:
        """Take in that an object is gone; return the key of its job, which may want it back."""
        place = self._places.pop(uid, None)
        self._bury(uid)
        family = self._families.get(place[3]) if place else None
        if place is None or family is None:
            return None
        family.objects.discard((place[0].kind, place[2]))
        family.others.pop(uid, None)
        self._tidy(place[3])
        return family.key

    def remember_existing(self, job: AnyJob, kind: str, name: str) -> None:
        """Note an object of the job that is not watched: a Secret or a claim."""
        self._family(job.uid, job.key).objects.add((kind, name))

    def dismiss(self, uid: str) -> None:
        """Note that a pod's end was ordered by us: it will be no evidence of anything."""
        if uid in self._places:
            self._dismissed.add(uid)

    # -- what was said --------------------------------------------------------------------------------

    def refuse(self, job: AnyJob, refusal: Refusal) -> None:
        """Remember why an object of the job was not created."""
        family = self._family(job.uid, job.key)
        family.refusal, family.refused_generation = refusal, job.generation
        family.refused_times += 1

    def refused_times(self, job: AnyJob) -> int:
        """How many refusals in a row the job has met."""
        return self._family(job.uid, job.key).refused_times

    def clear_refusal(self, job: AnyJob) -> None:
        """Forget refusals: everything was created, or the spec has changed."""
        family = self._family(job.uid, job.key)
        family.refusal, family.refused_times = None, 0

    def hear(self, job: AnyJob, leader: LeaderState) -> bool:
        """Remember what the leader says; return whether that is news."""
        family = self._family(job.uid, job.key)
        news = family.leader != leader
        family.leader = leader
        return news

    # -- what is known --------------------------------------------------------------------------------

    def job(self, key: Key) -> AnyJob | None:
        """Return the job of this name."""
        return self._jobs.get(key)

    def jobs(self) -> Iterator[AnyJob]:
        """Return all jobs."""
        return iter(list(self._jobs.values()))

    def observe(self, job: AnyJob) -> Observed:
        """Return everything that is known of a job beside the job itself."""
        family = self._family(job.uid, job.key)
        self._drop_old_evidence(job, family)
        others = sorted(family.others.values(), key=lambda other: (other.name, other.uid))
        return Observed(
            pods=tuple(sorted(family.pods.values(), key=lambda p: (p.attempt, p.role, p.index, p.name))),
            predecessors=tuple(
                sorted(
                    pod.name
                    for uid in self._uids.get(job.key, ())
                    if uid != job.uid
                    for pod in self._families[uid].pods.values()
                    if not pod.gone
                )
            ),
            existing=frozenset(family.objects),
            groups=tuple(o for o in others if isinstance(o, GroupState)),
            workloads=tuple(o for o in others if isinstance(o, WorkloadState)),
            looked_up={
                key: answer
                for key, (until, answer) in self._answers.items()
                if until > self._clock() and key.namespace in {"", job.namespace}
            },
            served=self.served,
            refusal=family.refusal,
            leader=family.leader,
            last_ends=dict(family.last_ends),
        )

    def known(self, resource: Resource) -> dict[str, tuple[str, str, str]]:
        """Return namespace, name and resourceVersion of all known objects of a kind, by UID."""
        if resource is JOB:
            return {job.uid: (*job.key, job.resource_version) for job in self._jobs.values()}
        return {
            uid: (namespace, name, self._versions.get(uid, ""))
            for uid, (kind, namespace, name, _) in self._places.items()
            if kind is resource
        }

    def is_buried(self, uid: str) -> bool:
        """Whether this object is known to be gone."""
        return uid in self._deleted

    # -- inside ---------------------------------------------------------------------------------------

    def _is_news(self, body: Manifest) -> bool:
        """Whether this version was not seen, and remember it."""
        meta = body["metadata"]
        uid, version = meta["uid"], meta.get("resourceVersion", "")
        if uid in self._deleted or not is_newer(version, self._versions.get(uid)):
            return False
        self._versions[uid] = version
        return True

    def _place(self, resource: Resource, body: Manifest) -> _Family | None:
        """Remember where an object of a job belongs; None if it is nobody's, or this version was seen."""
        meta = body["metadata"]
        labels = meta.get("labels") or {}
        job_uid = labels.get(LABEL_UID)
        if not job_uid or not self._is_news(body):
            return None
        namespace = meta["namespace"]
        self._move_out(meta["uid"], job_uid)
        self._places[meta["uid"]] = (resource, namespace, meta["name"], job_uid)
        return self._family(job_uid, (namespace, labels.get(LABEL_JOB, "")))

    def _move_out(self, uid: str, to: str) -> None:
        """Take an object out of another job's family: it was adopted.

        A Workload that MultiKueue has copied has the labels of the job in the management cluster at first.
        """
        place = self._places.get(uid)
        if place is not None and place[3] != to and place[3] in self._families:
            self._families[place[3]].others.pop(uid, None)
            self._tidy(place[3])

    def _family(self, uid: str, key: Key) -> _Family:
        family = self._families.get(uid)
        if family is None:
            family = self._families[uid] = _Family(key)
            self._uids.setdefault(key, set()).add(uid)
        return family

    def _lose_job(self, job: AnyJob) -> None:
        family = self._families.get(job.uid)
        if family is not None:
            family.pods = {uid: pod for uid, pod in family.pods.items() if not pod.gone}
            family.refusal = family.leader = None
            self._tidy(job.uid)

    def _tidy(self, uid: str) -> None:
        """Forget what belonged to a job that is gone, as soon as none of its pods lives."""
        family = self._families[uid]
        job = self._jobs.get(family.key)
        if family.is_empty and (job is None or job.uid != uid):
            del self._families[uid]
            uids = self._uids[family.key]
            uids.discard(uid)
            if not uids:
                del self._uids[family.key]

    def _drop_old_evidence(self, job: AnyJob, family: _Family) -> None:
        """Keep what deleted pods said only as long as their attempt is the job's present one.

        The pods of a job without a start time are those of a start that was taken back.
        """
        status = job.status
        over = status.start_time is None or (status.phase is not None and status.phase.is_final)
        for uid in [
            uid for uid, p in family.pods.items() if p.gone and (over or p.attempt < status.pod_attempt)
        ]:
            del family.pods[uid]
        present = {status.pod_attempt, *(pod.attempt for pod in family.pods.values())}
        for attempt in [attempt for attempt in family.last_ends if attempt not in present]:
            del family.last_ends[attempt]

    def _bury(self, uid: str) -> None:
        """Remember that an object is gone: the answer to an earlier write may still be on its way."""
        self._versions.pop(uid, None)
        self._deleted[uid] = None
        while len(self._deleted) > TOMBSTONES:
            self._deleted.popitem(last=False)


def is_newer(version: str, than: str | None) -> bool:
    """Whether a resourceVersion is newer than another one of the same object.

    They are comparable numbers by contract from Kubernetes 1.35 on (KEP-5504) and in fact before; where
    they are not, the one that arrives later is taken for newer.
    """
    if than is None:
        return True
    if version.isdigit() and than.isdigit():
        return int(version) > int(than)
    return version != than


def trainer_name(pod: Manifest) -> str:
    """Return the name of the container that the agent runs in.

    Read from the pod itself, so that a pod can be understood before its job is known, and whatever
    sidecars admission has added.
    """
    containers = (pod.get("spec") or {}).get("containers") or []
    for container in containers:
        if any(variable.get("name") == AGENT_CONFIG for variable in container.get("env") or ()):
            return str(container["name"])
    return str(containers[0]["name"]) if containers else ""
