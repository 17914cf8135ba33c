"""A job as read from the API server or a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import ValidationError

from ftjob.api.problem import Problem, problems_of, refused
from ftjob.api.template_kinds import kind_problems
from ftjob.models.names import (
    ANNOTATION_CAPTURE,
    ANNOTATION_RAW_LOGS,
    API_VERSION,
    CONTROLLER,
    KIND,
    KUEUE_LABEL,
    KUEUE_PREBUILT,
    MULTIKUEUE,
    MULTIKUEUE_ORIGIN,
)
from ftjob.models.spec import JobSpec, Roles
from ftjob.models.status import JobStatus
from ftjob.models.template import TemplateShape
from ftjob.strategies import STRATEGIES


@dataclass(frozen=True, kw_only=True)
class JobHead:
    """What is known of a FrameworkTrainingJob whether or not its spec can be read."""

    name: str
    namespace: str
    uid: str
    generation: int
    resource_version: str
    created: str
    deleting: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    status: JobStatus
    managed_by: str
    problems: tuple[Problem, ...] = ()
    """What is wrong with it, as far as reading it shows; `ftjob.api.validate` knows more."""
    raw_status: dict[str, Any] = field(default_factory=dict)
    status_problem: Problem | None = None
    """What this version does not understand of its status; ``status`` is empty then, and says nothing."""

    @property
    def not_understood(self) -> Problem | None:
        """What this version does not understand of a job that may have pods; None if all is clear.

        A newer version has written it. This one must not act on such a job: what it would take for a job
        of which nothing runs may have pods that train.
        """
        return self.status_problem

    @property
    def is_ours(self) -> bool:
        """Whether this operator is the controller in charge."""
        return self.managed_by == CONTROLLER

    @property
    def runs_elsewhere(self) -> bool:
        """Whether Kueue runs it in another cluster (MultiKueue): only its Workload is ours to make then."""
        return self.managed_by == MULTIKUEUE and bool(self.queue) and not self.prebuilt_workload

    @property
    def queue(self) -> str | None:
        """The LocalQueue of Kueue that it is labelled with."""
        return self.labels.get(KUEUE_LABEL) or None

    @property
    def prebuilt_workload(self) -> str | None:
        """The name of the Workload that somebody else has made for it.

        Kueue 0.18 and newer write it into an annotation (feature gate ``WorkloadIdentifierAnnotations``),
        older ones into a label: ``PrebuiltWorkloadNameFor`` in Kueue's pkg/controller/jobframework/utils.go,
        v0.19.2.
        """
        return self.annotations.get(KUEUE_PREBUILT) or self.labels.get(KUEUE_PREBUILT) or None

    @property
    def is_copy(self) -> bool:
        """Whether MultiKueue has made it, which deletes it, too, once its end is known where it came from."""
        return MULTIKUEUE_ORIGIN in self.labels

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, kw_only=True)
class Job(JobHead):
    """One FrameworkTrainingJob."""

    spec: JobSpec


@dataclass(frozen=True, kw_only=True)
class UnreadableJob(JobHead):
    """One whose spec can't be read; ``problems`` says why."""

    @property
    def not_understood(self) -> Problem | None:
        """What this version does not understand: also the spec, if another has started it."""
        runs = self.status.start_time is not None and not (self.status.phase and self.status.phase.is_final)
        return self.status_problem or (self.problems[0] if runs else None)


AnyJob = Job | UnreadableJob


def refused_job(job: JobHead, problem: Problem) -> UnreadableJob:
    """Return a job as one whose spec can't be read."""
    return UnreadableJob(**head_fields(job) | {"problems": (problem,)})


def head_fields(job: JobHead) -> dict[str, Any]:
    """Return what is known of a job beside its spec, by the names of a `JobHead`'s fields."""
    return {field.name: getattr(job, field.name) for field in fields(JobHead)}


ANNOTATIONS = frozenset({ANNOTATION_CAPTURE, ANNOTATION_RAW_LOGS, KUEUE_PREBUILT})
"""Those that mean something."""
LEVELS_MAX = 100
"""Of nesting; a pod has fourteen. What walks through a spec stays far from Python's limit of recursion."""
BYTES_MAX = 256 * 1024
"""Of a spec as JSON. Each pod gets its template, and etcd takes 1.5 MB for all that an object is."""


def parse_job(body: dict[str, Any]) -> AnyJob:
    """Read a job from API data; a spec that can't be read becomes problems, never an exception.

    Parameters
    ----------
    body
        The object as the API server or a YAML file gives it.
    """
    spec, problems = _read_spec(body.get("spec"))
    head = _read_head(body, problems)
    return UnreadableJob(**head) if spec is None else Job(**head, spec=spec)


def _read_head(body: dict[str, Any], problems: tuple[Problem, ...]) -> dict[str, Any]:
    """Return the fields of a `JobHead`."""
    meta = _mapping(body.get("metadata"))
    status, status_problem = _read_status(body.get("status"))
    generation = meta.get("generation")
    return {
        "name": str(meta.get("name") or ""),
        "namespace": str(meta.get("namespace") or "default"),
        "uid": str(meta.get("uid") or ""),
        "generation": generation if isinstance(generation, int) else 0,
        "resource_version": str(meta.get("resourceVersion") or ""),
        "created": str(meta.get("creationTimestamp") or ""),
        "deleting": "deletionTimestamp" in meta,
        "labels": _mapping(meta.get("labels")),
        # Others may be as large as the job, such as kubectl's copy of it.
        "annotations": {k: v for k, v in _mapping(meta.get("annotations")).items() if k in ANNOTATIONS},
        "status": status,
        "managed_by": str(_mapping(body.get("spec")).get("managedBy") or CONTROLLER),
        "problems": (*_read_type(body), *problems),
        "raw_status": _mapping(body.get("status")),
        "status_problem": status_problem,
    }


def _read_status(raw: Any) -> tuple[JobStatus, Problem | None]:
    """Return a status, and what is not understood of it. Fields that are not known are no problem."""
    try:
        return JobStatus.model_validate({} if raw is None else raw), None
    except ValidationError as error:
        return JobStatus(), problems_of(error, ("status",))[0]


def _read_type(body: dict[str, Any]) -> tuple[Problem, ...]:
    """Return what is wrong with the kind of object; parts of an API server's answer may leave it out."""
    return tuple(
        Problem(key, f"{body[key]} is not what this is about", f"write {key}: {expected}")
        for key, expected in (("apiVersion", API_VERSION), ("kind", KIND))
        if body.get(key, expected) != expected
    )


def _read_spec(raw: Any) -> tuple[JobSpec | None, tuple[Problem, ...]]:
    text = _as_json(raw)
    if isinstance(text, Problem):
        return None, (text,)
    try:
        spec = JobSpec.model_validate_json(text, strict=True)
    except ValidationError as error:
        return None, (*_unknown_strategy(raw), *problems_of(error, ("spec",)))
    if unknown := _unknown_strategy(raw):
        return None, unknown
    for path, template in _templates(spec):
        try:
            TemplateShape.model_validate_json(json.dumps(template), strict=True)
        except ValidationError as error:
            return None, problems_of(error, path)
        if wrong := tuple(kind_problems(template, ".".join(path))):
            return None, wrong
    return spec, ()


def _as_json(raw: Any) -> str | Problem:
    """Return a spec as JSON, or what keeps it from being read at all.

    By way of JSON, since the strict checks that an API server makes (no "2" for 2) refuse Python's own enums
    otherwise. YAML's dates, which JSON lacks, are text for an API server.
    """
    if raw is None:
        return Problem("spec", "it is missing", "write spec: {strategy: ..., template: ...}")
    if _is_deeper_than(LEVELS_MAX, raw):
        remedy = "put data that the training reads into a ConfigMap or the image"
        return Problem("spec", f"it has more than {LEVELS_MAX} levels of nesting", remedy)
    try:
        text = json.dumps(_without_nulls(raw), default=str, separators=(",", ":"))
    except (ValueError, TypeError) as error:
        return Problem("spec", f"it can't be read ({error})", "write plain YAML or JSON")
    if len(text) > BYTES_MAX:
        remedy = "put large values, such as a script, into a ConfigMap or the image"
        return Problem("spec", f"it is larger than {BYTES_MAX // 1024} KiB of JSON", remedy)
    return text


def _without_nulls(value: Any) -> Any:
    """Return data without fields that are null: an ``args:`` with nothing behind it is none to Kubernetes."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _is_deeper_than(levels: int, value: Any) -> bool:
    """Whether lists and objects stand in each other so deep. Without recursion, whose limit it guards."""
    inner = [value]
    for _ in range(levels + 1):
        containers = [each for each in inner if isinstance(each, dict | list)]
        if not containers:
            return False
        inner = [one for each in containers for one in (each.values() if isinstance(each, dict) else each)]
    return True


def _unknown_strategy(raw: Any) -> tuple[Problem, ...]:
    """Return the problem that there is no strategy of the name; what is no name, the model refuses."""
    name = _mapping(raw).get("strategy")
    return (refused(("spec", "strategy"), name),) if isinstance(name, str) and name not in STRATEGIES else ()


def _templates(spec: JobSpec) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield each pod template of a job with the path to it."""
    yield ("spec", "template"), spec.template
    for name in Roles.model_fields if spec.roles is not None else ():
        role = getattr(spec.roles, name)
        if role is not None and role.template is not None:
            yield ("spec", "roles", name, "template"), role.template


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
