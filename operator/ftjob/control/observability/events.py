"""Kubernetes Events: what has happened to a job, in words for people. Best effort, never waited for."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ftjob.api.job import Job
from ftjob.kube.errors import ApiError, NotFoundError
from ftjob.kube.resources import EVENT
from ftjob.models.names import API_VERSION, CONTROLLER, KIND
from ftjob.models.status import ConditionType, Phase
from ftjob_protocol.reasons import Reason
from ftjob_protocol.values.text import clean
from ftjob_protocol.vitals.verdict import Confidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftjob.api.job import AnyJob
    from ftjob.kube.client import Kube
    from ftjob.models.manifest import Manifest
    from ftjob.models.status import Condition, Finding, JobStatus, ProfileStatus
    from ftjob.plan.plan import Plan

BACKLOG = 1_000
REMEMBERED = 5_000
REPEAT_SECONDS = 600.0
NOTE_BYTES = 1024
NAME_BYTES = 128
"""Of a reason and of who reports. Both limits are of bytes: ``ValidateEventCreate`` in Kubernetes'
pkg/apis/core/validation/events.go compares Go's ``len``."""

NO_OUTPUTS = (
    "restart.limit is set, but without outputs a checkpoint goes with its pod and each attempt begins anew; "
    "add outputs: {}"
)
NOT_QUEUED = (
    "spec.suspend is true, so the job is not in its queue, and Kueue never sets it to false as it does for "
    "Jobs; leave it out, since ftjob waits for the queue by itself"
)
NORMAL, WARNING = "Normal", "Warning"

_CONDITION_OF_PHASE = {
    Phase.QUEUED: ConditionType.ADMITTED,
    Phase.RUNNING: ConditionType.RUNNING,
    Phase.SUSPENDED: ConditionType.SUSPENDED,
    Phase.RESTARTING: ConditionType.RESTARTING,
    Phase.SUCCEEDED: ConditionType.SUCCEEDED,
    Phase.FAILED: ConditionType.FAILED,
}
_TROUBLE = frozenset({Phase.FAILED, Phase.RESTARTING})

logger = logging.getLogger(__name__)


class Events:
    """Posts Events one after the other, and drops those that do not fit into its backlog.

    Parameters
    ----------
    instance
        The operator's pod, which reports.
    clock
        Seconds that only go forward; the same words within ten minutes are said once.
    """

    def __init__(self, kube: Kube, instance: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._instance = clean(instance, NAME_BYTES)
        self._clock = clock
        self._backlog: asyncio.Queue[Manifest] = asyncio.Queue(BACKLOG)
        self._said: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def status_written(self, job: AnyJob, status: JobStatus, plan: Plan) -> None:
        """Post a change of phase, or a new reason to wait."""
        old, phase = job.status, status.phase
        wanted = _CONDITION_OF_PHASE.get(phase) if phase else None
        condition = next((c for c in status.conditions if c.type is wanted), None)
        reason = (condition.reason if condition else "") or plan.reason or (phase.value if phase else "")
        note = (condition.message if condition else "") or plan.message
        if phase != old.phase and phase is not None:
            self._say(job, WARNING if phase in _TROUBLE else NORMAL, reason, note or phase.value)
        elif (waits := _news_of_waiting(old, status)) is not None:
            self._say(job, WARNING, waits.reason, waits.message)
        elif reason == Reason.NO_STEPS_SEEN and all(c.reason != Reason.NO_STEPS_SEEN for c in old.conditions):
            self._say(job, WARNING, reason, note)
        elif plan.reason and plan.message and _not_yet_in(old, plan):
            self._say(job, WARNING, plan.reason, plan.message)
        if phase != old.phase and phase is Phase.SUCCEEDED and plan.message:
            self._say(job, WARNING, plan.reason, plan.message)
        for event_type, reason, note in _news_of_slowness(old.profile, status.profile):
            self._say(job, event_type, reason, note)
        if old.start_time is None and status.start_time is not None and _forgets_checkpoints(job):
            self._say(job, WARNING, Reason.NO_OUTPUTS, NO_OUTPUTS)
        if old.phase is None and phase is Phase.SUSPENDED and _waits_for_kueue_in_vain(job):
            self._say(job, WARNING, Reason.NOT_QUEUED, NOT_QUEUED)

    def warn(self, job: AnyJob, reason: str, note: str) -> None:
        """Post a warning."""
        self._say(job, WARNING, reason, note)

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            event = await self._backlog.get()
            try:
                await self._kube.create(event)
            except NotFoundError:
                pass  # the namespace went with the job
            except ApiError as error:
                logger.warning("Event not posted: %s", error)

    def _say(self, job: AnyJob, event_type: str, reason: str, note: str) -> None:
        reason, note = clean(reason, NAME_BYTES), clean(note, NOTE_BYTES)
        said = (job.uid, reason, note)
        now = self._clock()
        if now - self._said.get(said, float("-inf")) < REPEAT_SECONDS or self._backlog.full():
            return
        self._said[said] = now
        self._said.move_to_end(said)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        self._backlog.put_nowait(self._event(job, event_type, reason, note))

    def _event(self, job: AnyJob, event_type: str, reason: str, note: str) -> Manifest:
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{job.name}.{uuid.uuid4().hex[:16]}", "namespace": job.namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": event_type,
            "reason": reason,
            "note": note,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": job.namespace,
                "name": job.name,
                "uid": job.uid,
            },
        }


def _forgets_checkpoints(job: AnyJob) -> bool:
    return isinstance(job, Job) and job.spec.restart.limit > 0 and job.spec.outputs is None


def _waits_for_kueue_in_vain(job: AnyJob) -> bool:
    """Whether a job was made suspended as Kueue wants Jobs. One that brings code waits for that, at first."""
    return isinstance(job, Job) and job.queue is not None and job.spec.code is None


def _news_of_waiting(old: JobStatus, status: JobStatus) -> Condition | None:
    """Return the condition that begins to say why no rank runs though all pods do."""
    found = status.condition(ConditionType.RUNNING)
    if found is None or found.reason not in {Reason.PEERS_ABSENT, Reason.LEADER_UNREACHED}:
        return None
    return found if all(known.reason != found.reason for known in old.conditions) else None


def _news_of_slowness(
    old: ProfileStatus | None, new: ProfileStatus | None
) -> Iterator[tuple[str, Reason, str]]:
    """Return what has become sure of why a job is slow, or that it is over."""
    known, found = _sure(old), _sure(new)
    for who, finding in found.items():
        if who not in known:
            yield WARNING, Reason.SLOW, finding.text
    if known and not found and new is not None:
        yield NORMAL, Reason.SLOW_ENDED, new.verdict or ""


def _sure(profile: ProfileStatus | None) -> dict[tuple[object, ...], Finding]:
    findings = profile.findings if profile is not None else []
    sure = [finding for finding in findings if finding.confidence == Confidence.HIGH]
    return {(finding.kind, finding.ranks, finding.node, finding.cause): finding for finding in sure}


def _not_yet_in(old: JobStatus, plan: Plan) -> bool:
    return all((c.reason, c.message) != (plan.reason, plan.message) for c in old.conditions)
