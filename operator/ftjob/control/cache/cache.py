"""The cache: the newest state of every job and of the objects that belong to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ftjob.api.job import AnyJob, JobHead, parse_job
from ftjob.control.cache.answers import Answers
from ftjob.control.cache.jobs import Jobs
from ftjob.control.cache.leader_states import LeaderStates
from ftjob.control.cache.objects import JobObjects
from ftjob.control.cache.ownership import owner_of
from ftjob.control.cache.pods import JobPods
from ftjob.control.cache.refusals import Refusals
from ftjob.control.cache.shared import Shared
from ftjob.control.cache.versions import Versions
from ftjob.kube.resources import JOB, POD, Resource
from ftjob.models.manifest import mapping
from ftjob.models.names import LABEL_JOB, POD_GROUP, WORKLOAD
from ftjob.plan.observed.state import Lookup, Observed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftjob.control.cache.ownership import Owner
    from ftjob.control.queue import Key
    from ftjob.models.manifest import Manifest
    from ftjob.plan.observed.state import Refusal
    from ftjob_protocol.leader_state import LeaderState


class Known(NamedTuple):
    """The newest version of an object that the cache knows."""

    namespace: str
    name: str
    version: str


Family = tuple[str, str]
"""Namespace and UID of a job: what belongs to it. A UID alone could be claimed from another namespace."""


class _Place(NamedTuple):
    """Where an object stands, and the job that it belongs to."""

    resource: Resource
    namespace: str
    name: str
    family: Family


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
        self._jobs = Jobs()
        self._dependents: dict[Family, _Dependents] = {}
        self._uids: dict[Key, set[str]] = {}
        """UIDs of the jobs of a name that have dependents."""
        self._places: dict[str, _Place] = {}
        """Where dependents are, by their UID."""
        self._ordered_deletions: set[str] = set()
        self.refusals = Refusals()
        self.answers = Answers(clock)
        self.leader_states = LeaderStates()
        self.shared = Shared(clock)
        self.served: frozenset[tuple[str, str]] = frozenset()
        """(apiVersion, kind) of the optional kinds that the API server serves."""
        self.closed: set[tuple[str, str]] = set()
        """(namespace, kind) of what may not be read and was not read yet. Jobs there are not given out."""

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
        owner = owner_of(resource, body)
        if owner is None:
            return self._stranger(resource, body)
        dependents = self._place(resource, body, owner)
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
        if resource is POD and owner_of(POD, body) is not None:
            self.update(POD, body)
        return self.mark_gone(body["metadata"]["uid"])

    def mark_gone(self, uid: str) -> Key | None:
        """Take in that a job's object does not exist any more; return the job's key if it was known.

        The last known state of a pod stays as evidence, unless we ordered its deletion.
        """
        self._versions.mark_deleted(uid)
        ordered = uid in self._ordered_deletions
        self._ordered_deletions.discard(uid)
        place = self._places.pop(uid, None)
        dependents = self._dependents.get(place.family) if place else None
        if place is None or dependents is None:
            return None
        if place.resource is not POD:
            dependents.objects.remove(place.resource.kind, place.name, uid)
        elif uid in dependents.pods:
            wanted = not ordered and self._is_present(dependents.key, place.family[1])
            dependents.pods.mark_gone(uid, self._clock(), keep=wanted)
        self._tidy(place.family)
        return dependents.key

    def note_existing(self, job: AnyJob, kind: str, name: str) -> None:
        """Note an object of the job that is not watched: a Secret or a claim."""
        if self._is_present(job.key, job.uid):
            self._dependents_of(_family(job), job.key).objects.existing.add((kind, name))

    def note_ordered_deletion(self, uid: str) -> None:
        """Note that we order a pod's deletion: its end will be no evidence of anything."""
        if uid in self._places:
            self._ordered_deletions.add(uid)

    def note_refusal(self, job: AnyJob, refusal: Refusal) -> None:
        """Note why an object of the job was not created."""
        if self._is_present(job.key, job.uid):
            self.refusals.add(job, refusal)

    def note_refused_collector(self, job: AnyJob, about: str, name: str, why: str) -> None:
        """Note why a collector of the job was not created."""
        if self._is_present(job.key, job.uid):
            self._dependents_of(_family(job), job.key).pods.refuse_collector(about, name, why, self._clock())

    def hear(self, job: AnyJob, state: LeaderState) -> bool:
        """Take in what the job's leader says; return whether it differs from the last."""
        return self._is_present(job.key, job.uid) and self.leader_states.update(job, state)

    def miss(self, job: AnyJob, why: str) -> bool:
        """Take in that the job's leader could not be asked; return whether that is new."""
        return self._is_present(job.key, job.uid) and self.leader_states.miss(job, why)

    # -- giving out -----------------------------------------------------------------------------------

    def job(self, key: Key) -> AnyJob | None:
        """Return the job of this name."""
        return None if self.is_closed(key[0]) else self._jobs.get(key)

    def jobs(self) -> Iterator[JobHead]:
        """Return what is known of all jobs beside their specs."""
        return (job for job in self._jobs.heads() if not self.is_closed(job.namespace))

    def is_closed(self, namespace: str) -> bool:
        """Whether facts about jobs of a namespace may be absent, so that nothing is decided about them."""
        return any(closed == namespace for closed, _ in self.closed)

    def observe(self, job: AnyJob) -> Observed:
        """Return everything that is known of a job beside the job itself."""
        # Nothing is kept of a job that is gone, also not by those who still ask about it.
        dependents = self._dependents.get(_family(job)) or _Dependents(job.key)
        pods, objects = dependents.pods, dependents.objects
        pods.drop_old_evidence(job.status)
        return Observed(
            pods=pods.in_order(),
            collectors=pods.collectors(),
            predecessors=self._predecessors(job),
            existing=frozenset(objects.existing) | self.shared.of(job.namespace),
            groups=objects.groups(),
            workloads=objects.workloads(),
            looked_up=self.answers.of(job.namespace),
            served=self.served,
            refusal=self.refusals.last(job),
            leader=self.leader_states.of(job),
            unreached=self.leader_states.why_unreached(job),
            last_ends=dict(pods.last_ends),
        )

    def known(self, resource: Resource, namespace: str | None = None) -> dict[str, Known]:
        """Return all known objects of a kind, by UID; of one namespace unless that is None."""
        if resource is JOB:
            found = {job.uid: Known(*job.key, job.resource_version) for job in self._jobs.heads()}
        else:
            found = {
                uid: Known(place.namespace, place.name, self._versions.newest(uid))
                for uid, place in self._places.items()
                if place.resource is resource
            }
        return {uid: known for uid, known in found.items() if namespace in {None, known.namespace}}

    def is_deleted(self, uid: str) -> bool:
        """Whether this object is known to be gone."""
        return self._versions.is_deleted(uid)

    # -- inside ---------------------------------------------------------------------------------------

    def _update_job(self, body: Manifest) -> Key | None:
        if not self._versions.is_news(body):
            return None
        job = parse_job(body)
        old = self._jobs.head(job.key)
        if old is not None and old.uid != job.uid:
            self._lose_job(old)
        self._jobs.put(job, body.get("spec"))
        self._dependents_of(_family(job), job.key)
        self.refusals.clear_if_edited(job)
        return job.key

    def _job_deleted(self, body: Manifest) -> Key:
        meta = body["metadata"]
        key = (meta.get("namespace") or "default", meta["name"])
        self._versions.mark_deleted(meta["uid"])
        job = self._jobs.head(key)
        if job is not None and job.uid == meta["uid"]:
            self._jobs.remove(key)
            self._lose_job(job)
        return key

    def _lose_job(self, job: JobHead) -> None:
        self.refusals.clear(job)
        self.leader_states.drop(job)
        dependents = self._dependents.get(_family(job))
        if dependents is not None:
            dependents.pods.drop_evidence()
            self._tidy(_family(job))

    def _is_present(self, key: Key, uid: str) -> bool:
        """Whether the job of this name is the one with this UID."""
        job = self._jobs.head(key)
        return job is not None and job.uid == uid

    def _predecessors(self, job: AnyJob) -> tuple[str, ...]:
        """Return the names of pods of earlier jobs of the same name."""
        earlier = self._uids.get(job.key, set()) - {job.uid}
        theirs = (self._dependents[job.namespace, uid].pods for uid in earlier)
        return tuple(sorted(pod.name for pods in theirs for pod in pods.living()))

    def _place(self, resource: Resource, body: Manifest, owner: Owner) -> _Dependents | None:
        """Remember which job an object belongs to; None if this version was seen."""
        if not self._versions.is_news(body):
            return None
        meta, family = body["metadata"], (owner.namespace, owner.uid)
        self._move_out(meta["uid"], family)
        self._places[meta["uid"]] = _Place(resource, owner.namespace, meta["name"], family)
        return self._dependents_of(family, (owner.namespace, owner.name))

    def _stranger(self, resource: Resource, body: Manifest) -> Key | None:
        """Take in an object that belongs to no job, whatever its labels say.

        It may have been disowned. A Workload that MultiKueue has copied has the job's name in its labels, and
        no owner before the job adopts it: the job has to look at it.
        """
        meta = body["metadata"]
        if meta["uid"] in self._places:
            return self.mark_gone(meta["uid"])
        key = (meta["namespace"], mapping(meta, "labels").get(LABEL_JOB, ""))
        return key if resource.kind == WORKLOAD and self._jobs.head(key) is not None else None

    def _move_out(self, uid: str, to: Family) -> None:
        """Take an object away from another job, which it belonged to before."""
        place = self._places.get(uid)
        if place is not None and place.family != to and place.family in self._dependents:
            self._dependents[place.family].objects.give_away(uid)
            self._tidy(place.family)

    def _dependents_of(self, family: Family, key: Key) -> _Dependents:
        dependents = self._dependents.get(family)
        if dependents is None:
            dependents = self._dependents[family] = _Dependents(key)
            self._uids.setdefault(key, set()).add(family[1])
        return dependents

    def _tidy(self, family: Family) -> None:
        """Forget what belonged to a job that is gone, as soon as none of its pods exists."""
        dependents = self._dependents[family]
        if any(dependents.pods.living()) or self._is_present(dependents.key, family[1]):
            return
        del self._dependents[family]
        uids = self._uids[dependents.key]
        uids.discard(family[1])
        if not uids:
            del self._uids[dependents.key]


def _family(job: JobHead) -> Family:
    return job.namespace, job.uid
