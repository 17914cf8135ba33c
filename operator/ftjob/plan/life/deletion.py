"""Which pods go: before another attempt, and when the job ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.job import Job
from ftjob.models.spec import CleanPods
from ftjob.plan.plan import PodRef

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.api.job import AnyJob
    from ftjob.plan.observed.pod import PodState


def refs(pods: Iterable[PodState]) -> tuple[PodRef, ...]:
    """Return the pods that can be deleted and have not been yet."""
    return tuple(PodRef(pod.name, pod.uid) for pod in pods if not pod.gone and not pod.deleting)


def to_replace(pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods that go before another attempt.

    While some are lost, those that have succeeded stay: they prove that the lost ones miss nobody.
    """
    some_are_lost = any(pod.is_lost for pod in pods)
    return refs(pod for pod in pods if not (some_are_lost and pod.succeeded))


def to_clean(job: AnyJob, pods: tuple[PodState, ...]) -> tuple[PodRef, ...]:
    """Return the pods that go when the job ends."""
    policy = job.spec.clean_pods if isinstance(job, Job) else CleanPods.RUNNING
    if policy is CleanPods.ALL:
        return refs(pods)
    if policy is CleanPods.RUNNING:
        return refs(pod for pod in pods if not pod.is_over or pod.has_sidecars)
    return ()
