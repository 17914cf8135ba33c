"""A job as read from the API server or a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ftjob.api.names import CONTROLLER
from ftjob.api.spec import JobSpec
from ftjob.api.status import JobStatus


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a job: where, what, and what to write instead."""

    field: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return (
            f"{self.field}: {self.message}; {self.remedy}" if self.remedy else f"{self.field}: {self.message}"
        )


@dataclass(frozen=True)
class Job:
    """One FrameworkTrainingJob; ``spec`` is None when ``problems`` says why it could not be read."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    created: str
    deleting: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: JobSpec | None
    status: JobStatus
    managed_by: str
    problems: tuple[Problem, ...] = ()
    raw_status: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether this operator is the controller in charge."""
        return self.managed_by == CONTROLLER

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


def parse_job(body: dict[str, Any]) -> Job:
    """Read a job from API data; a spec that can't be read becomes problems, never an exception.

    Parameters
    ----------
    body
        The object as the API server or a YAML file gives it.
    """
    meta = body.get("metadata") or {}
    raw_spec = body.get("spec") or {}
    raw_status = body.get("status") or {}
    spec: JobSpec | None = None
    problems: tuple[Problem, ...] = ()
    try:
        spec = JobSpec.model_validate(raw_spec)
    except ValidationError as error:
        problems = tuple(
            Problem(
                field=".".join(["spec", *(str(part) for part in detail["loc"])]),
                message=detail["msg"],
                remedy="see `kubectl explain ftj.spec --recursive`",
            )
            for detail in error.errors(include_url=False)
        )
    try:
        status = JobStatus.model_validate(raw_status)
    except ValidationError:
        # Only a foreign hand writes such a status. Starting from nothing is safe: pods of a higher
        # attempt than the status knows forbid creation (design: read your own writes).
        status = JobStatus()
    managed_by = raw_spec.get("managedBy") if isinstance(raw_spec, dict) else None
    return Job(
        name=str(meta.get("name", "")),
        namespace=str(meta.get("namespace") or "default"),
        uid=str(meta.get("uid", "")),
        generation=int(meta.get("generation") or 0),
        resource_version=str(meta.get("resourceVersion", "")),
        created=str(meta.get("creationTimestamp", "")),
        deleting="deletionTimestamp" in meta,
        labels=dict(meta.get("labels") or {}),
        annotations=dict(meta.get("annotations") or {}),
        spec=spec,
        status=status,
        managed_by=managed_by or CONTROLLER,
        problems=problems,
        raw_status=raw_status if isinstance(raw_status, dict) else {},
    )
