"""How many pods of each role there are, run and have succeeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.defaults import roles_of
from ftjob.api.job import Job
from ftjob.models.status import RoleStatus
from ftjob_protocol.values.ranges import format_indexes

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.pod import PodState


def fresh_roles(job: AnyJob) -> list[RoleStatus]:
    """Return the roles of an attempt of which there is no pod yet."""
    desired = roles_of(job.spec) if isinstance(job, Job) else {}
    return [RoleStatus(name=role, desired=count) for role, count in desired.items()]


def role_statuses(attempt: Attempt) -> list[RoleStatus]:
    """Return the roles as their pods are now."""
    return [
        _role(
            name,
            desired,
            [pod for pod in attempt.ranked_pods if pod.role == name],
            {index for role, index in attempt.done if role == name},
        )
        for name, desired in roles_of(attempt.spec).items()
    ]


def _role(name: str, desired: int, pods: list[PodState], done: set[int]) -> RoleStatus:
    return RoleStatus(
        name=name,
        desired=desired,
        ready=sum(pod.running and not pod.is_over for pod in pods),
        succeeded=len(done),
        failed=sum(
            pod.is_over and not pod.succeeded and not pod.was_released and pod.index not in done
            for pod in pods
        ),
        succeeded_indexes=format_indexes(done),
    )
