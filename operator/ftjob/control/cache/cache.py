"""The cache: the newest state of every job and of the objects that belong to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ftjob.api.job import AnyJob, parse_job
from ftjob.control.cache.answers import Answers
from ftjob.control.cache.leader_states import LeaderStates
from ftjob.control.cache.objects import JobObjects
from ftjob.control.cache.pods import JobPods
from ftjob.control.cache.refusals import Refusals
from ftjob.control.cache.versions import Versions
from ftjob.kube.resources import JOB, POD, Resource
from ftjob.models.names import ANNOTATION_LAST_APPLIED, LABEL_JOB, LABEL_UID, POD_GROUP, WORKLOAD
from ftjob.plan.observed.state import Lookup, Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftjob.control.queue import Key
    from ftjob.models.manifest import Manifest


class Known(NamedTuple):
    """The newest version of an object that the cache knows."""

    namespace: str
    name: str
    version: str


class _Place(NamedTuple):
    """Where an object stands, and the job that it belongs to."""

    resource: Resource
    namespace: str
    name: str
    job_uid: str


@dataclass
class _Dependents:
    """What belongs to one job; it may be known before the job and outlive it."""

    key: Key
    pods: JobPods = field(default_factory=JobPods)
    objects: JobObjects = field(default_factory=JobObjects)


class Cache:
    """Everything that was seen, newest version of each object.

    Two writers feed it, the watches and the answers to our own writes, in any order: a newer
    resourceVersion wins, and an object that was deleted stays deleted.

    Parameters
    ----------
    clock
        Unix time, for the moment at which something was first seen.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._versions = Versions()
        self._jobs: dict[Key, AnyJob] = {}
        self._dependents: dict[str, _Dependents] = {}
        """By the job's UID."""
        self._uids: dict[Key, set[str]] = {}
        """UIDs of the jobs of a name that have dependents."""
        self._places: dict[str, _Place] = {}
        """Where dependents are, by their UID."""
        self._ordered_deletions: set[str] = set()
        self.refusals = Refusals()
        self.answers = Answers(clock)
        self.leader_states = LeaderStates()
        self.served: frozenset[tuple[str, str]] = frozenset()
        """(apiVersion, kind) of the optional kinds that the API server serves."""

    # -- taking in ------------------------------------------------------------------------------------

    def update(self, resource: Resource, body: Manifest) -> Key | None:
        """Take in an object of a kind that is watched, from a list, an event or the answer to a write.

        Returns
        -------
        Key or None
            The job to look at; None if no decision can depend on the change.
        """
        if resource is JOB:
            return self._update_job(body)
        if resource.kind in {POD_GROUP, WORKLOAD}:
            meta = body["metadata"]
            self.answers.forget(Lookup(resource.api_version, resource.kind, meta["name"], meta["namespace"]))
        dependents = self._place(resource, body)
        if dependents is None:
            return None
        if resource is POD:
            is_news = dependents.pods.update(body, self._clock())
        else:
            is_news = dependents.objects.update(resource, body)
        return dependents.key if is_news else None

    def mark_deleted(self, resource: Resource, body: Manifest) -> Key | None:
        """Take in the event of a deletion, which brings the last state; return the key of the job."""
        if resource is JOB:
            return self._job_deleted(body)
        if resource is POD:
            self.update(POD, body)
        return self.mark_gone(body["metadata"]["uid"])

    def mark_gone(self, uid: str) -> Key | None:
        """Take in that a job's object does not exist any more; return the job's key if it was known.

        The last known state of a pod stays as evidence, unless we ordered its deletion.
        """
        self._versions.mark_deleted(uid)
        place = self._places.pop(uid, None)
        dependents = self._dependents.get(place.job_uid) if place else None
        if place is None or dependents is None:
            return None
        if place.resource is not POD:
            dependents.objects.remove(place.resource.kind, place.name, uid)
        elif uid in dependents.pods:
            wanted = uid not in self._ordered_deletions and self._is_present(dependents.key, place.job_uid)
            dependents.pods.mark_gone(uid, self._clock(), keep=wanted)
            self._ordered_deletions.discard(uid)
        self._tidy(place.job_uid)
        return dependents.key

    def note_existing(self, job: AnyJob, kind: str, name: str) -> None:
        """Note an object of the job that is not watched: a Secret or a claim."""
        self._dependents_of(job.uid, job.key).objects.existing.add((kind, name))

    def note_ordered_deletion(self, uid: str) -> None:
        """Note that we order a pod's deletion: its end will be no evidence of anything."""
        if uid in self._places:
            self._ordered_deletions.add(uid)

    # -- giving out -----------------------------------------------------------------------------------

    def job(self, key: Key) -> AnyJob | None:
        """Return the job of this name."""
        return self._jobs.get(key)

    def jobs(self) -> Iterator[AnyJob]:
        """Return all jobs."""
        return iter(list(self._jobs.values()))

    def observe(self, job: AnyJob) -> Observed:
        """Return everything that is known of a job beside the job itself."""
        dependents = self._dependents_of(job.uid, job.key)
        pods, objects = dependents.pods, dependents.objects
        pods.drop_old_evidence(job.status)
        return Observed(
            pods=pods.in_order(),
            predecessors=self._predecessors(job),
            existing=frozenset(objects.existing),
            groups=objects.groups(),
            workloads=objects.workloads(),
            looked_up=self.answers.of(job.namespace),
            served=self.served,
            refusal=self.refusals.last(job),
            leader=self.leader_states.of(job),
            last_ends=dict(pods.last_ends),
        )

    def known(self, resource: Resource) -> dict[str, Known]:
        """Return all known objects of a kind, by UID."""
        if resource is JOB:
            return {job.uid: Known(*job.key, job.resource_version) for job in self._jobs.values()}
        return {
            uid: Known(place.namespace, place.name, self._versions.newest(uid))
            for uid, place in self._places.items()
            if place.resource is resource
        }

    def is_deleted(self, uid: str) -> bool:
        """Whether this object is known to be gone."""
        return self._versions.is_deleted(uid)

    # -- inside ---------------------------------------------------------------------------------------

    def _update_job(self, body: Manifest) -> Key | None:
        if not self._versions.is_news(body):
            return None
        # Nobody here reads it, and it is as large as the job.
        (body["metadata"].get("annotations") or {}).pop(ANNOTATION_LAST_APPLIED, None)
        job = parse_job(body)
        old = self._jobs.get(job.key)
        if old is not None and old.uid != job.uid:
            self._lose_job(old)
        self._jobs[job.key] = job
        self._dependents_of(job.uid, job.key)
        self.refusals.clear_if_edited(job)
        return job.key

    def _job_deleted(self, body: Manifest) -> Key:
        meta = body["metadata"]
        key = (meta.get("namespace") or "default", meta["name"])
        self._versions.mark_deleted(meta["uid"])
        if self._is_present(key, meta["uid"]):
            self._lose_job(self._jobs.pop(key))
        return key

    def _lose_job(self, job: AnyJob) -> None:
        self.refusals.clear(job)
        self.leader_states.drop(job)
        dependents = self._dependents.get(job.uid)
        if dependents is not None:
            dependents.pods.drop_evidence()
            self._tidy(job.uid)

    def _is_present(self, key: Key, uid: str) -> bool:
        """Whether the job of this name is the one with this UID."""
        job = self._jobs.get(key)
        return job is not None and job.uid == uid

    def _predecessors(self, job: AnyJob) -> tuple[str, ...]:
        """Return the names of pods of earlier jobs of the same name."""
        earlier = self._uids.get(job.key, set()) - {job.uid}
        return tuple(sorted(pod.name for uid in earlier for pod in self._dependents[uid].pods.living()))

    def _place(self, resource: Resource, body: Manifest) -> _Dependents | None:
        """Remember which job an object belongs to; None if it belongs to no job, or this version was seen."""
        meta = body["metadata"]
        labels = meta.get("labels") or {}
        job_uid = labels.get(LABEL_UID)
        if not job_uid or not self._versions.is_news(body):
            return None
        namespace = meta["namespace"]
        self._move_out(meta["uid"], job_uid)
        self._places[meta["uid"]] = _Place(resource, namespace, meta["name"], job_uid)
        return self._dependents_of(job_uid, (namespace, labels.get(LABEL_JOB, "")))

    def _move_out(self, uid: str, to: str) -> None:
        """Take an object away from another job: it was adopted.

        A Workload that MultiKueue has copied has the labels of the job in the management cluster at first.
        """
        place = self._places.get(uid)
        if place is not None and place.job_uid != to and place.job_uid in self._dependents:
            self._dependents[place.job_uid].objects.give_away(uid)
            self._tidy(place.job_uid)

    def _dependents_of(self, uid: str, key: Key) -> _Dependents:
        dependents = self._dependents.get(uid)
        if dependents is None:
            dependents = self._dependents[uid] = _Dependents(key)
            self._uids.setdefault(key, set()).add(uid)
        return dependents

    def _tidy(self, uid: str) -> None:
        """Forget what belonged to a job that is gone, as soon as none of its pods exists."""
        dependents = self._dependents[uid]
        if any(dependents.pods.living()) or self._is_present(dependents.key, uid):
            return
        del self._dependents[uid]
        uids = self._uids[dependents.key]
        uids.discard(uid)
        if not uids:
            del self._uids[dependents.key]
