"""The status of a FrameworkTrainingJob as the operator writes it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ftjob.models.schema import Model
from ftjob.models.spec import GangMode
from ftjob.models.times import unix
from ftjob_protocol.values.ranges import parse_ranges


class StatusModel(Model):
    """A part of status; tolerates fields that a newer operator wrote."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def _readable_time(text: str) -> str:
    try:
        unix(text)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return text


def _readable_indexes(text: str) -> str:
    parse_ranges(text)
    return text


# What the plan reads later must not fail there: a status is understood as a whole, or not at all.
Time = Annotated[str, AfterValidator(_readable_time)]
Indexes = Annotated[str, AfterValidator(_readable_indexes)]


KEYS = {"captures": "id", "conditions": "type", "roles": "name", "stragglers": "rank"}
"""By which of their fields the entries of the lists in a status are told apart."""


def keyed(name: str) -> dict[str, Any]:
    """Return what tells the API server how entries of a list are told apart."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [KEYS[name]]}


class Phase(StrEnum):
    """Where the job is in its life; ``Succeeded`` and ``Failed`` are final."""

    PENDING = "Pending"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        """Whether no further phase follows."""
        return self in {Phase.SUCCEEDED, Phase.FAILED}


class ConditionType(StrEnum):
    """Types of conditions."""

    ADMITTED = "Admitted"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    RESTARTING = "Restarting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    FINISHED = "Finished"


class Condition(StatusModel):
    """A Kubernetes condition (meta/v1 Condition)."""

    type: Annotated[ConditionType, Field(description="Type of the condition.")]
    status: Annotated[
        str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]}, description="Whether it holds.")
    ]
    reason: Annotated[str, Field(description="One word for programs.")]
    message: Annotated[str, Field(description="One sentence for people.")] = ""
    last_transition_time: Annotated[Time, Field(description="When the status last changed (RFC 3339).")]
    observed_generation: Annotated[int | None, Field(description="Generation this was derived from.")] = None


class Restarts(StatusModel):
    """Restarts so far, by cause."""

    failures: Annotated[int, Field(description="Restarts after failures; they spend restart.limit.")] = 0
    disruptions: Annotated[int, Field(description="Restarts after disruptions.")] = 0
    in_a_row: Annotated[int | None, Field(description="Disruptions in a row, without a step in between.")] = (
        None
    )
    step: Annotated[int | None, Field(description="Steps done at the last restart.")] = None
    lost_seconds: Annotated[
        int | None, Field(description="Time from failures until all workers ran again, or the job was over.")
    ] = None
    failed_nodes: Annotated[
        list[str] | None,
        Field(
            description="Nodes of the first failing ranks, latest last; the next attempt avoids "
            "those that are named twice."
        ),
    ] = None
    failed_ranks: Annotated[
        dict[str, Time] | None,
        Field(
            description="When ranks failed in the last ten minutes (RFC 3339): one that fails again gets new "
            "pods."
        ),
    ] = None
    succeeded: Annotated[
        dict[str, int] | None,
        Field(
            description="How many workers of the last attempt, by podAttempt, had succeeded when it ended: "
            "its pods on lost nodes do not miss them."
        ),
    ] = None


class RoleStatus(StatusModel):
    """The pods of one role."""

    name: Annotated[str, Field(description="Name of the role.")]
    desired: Annotated[int, Field(description="Pods wanted.")]
    ready: Annotated[int, Field(description="Pods whose trainer runs.")] = 0
    succeeded: Annotated[int, Field(description="Pods whose trainer exited with 0.")] = 0
    failed: Annotated[int, Field(description="Pods whose trainer failed.")] = 0
    succeeded_indexes: Annotated[Indexes, Field(description='Indexes that succeeded, e.g. "0,3-5".')] = ""


class Progress(StatusModel):
    """How far the training is, as rank 0 reports it."""

    step: Annotated[int | None, Field(description="Optimizer steps done.")] = None
    total_steps: Annotated[int | None, Field(description="Steps in all, if known.")] = None
    percent: Annotated[float | None, Field(description="Share of the steps done, 0 to 100.")] = None
    eta_seconds: Annotated[int | None, Field(description="Expected time to the last step.")] = None
    step_seconds: Annotated[float | None, Field(description="Time of a step.")] = None
    epoch: Annotated[float | None, Field(description="Epochs done.")] = None
    metrics: Annotated[dict[str, float], Field(description="Numbers that the script reports.")] = {}
    updated_time: Annotated[Time | None, Field(description="When rank 0 last made a step (RFC 3339).")] = None


class Failure(StatusModel):
    """The first failing rank and the tail of its traceback."""

    rank: Annotated[int | None, Field(description="The first failing rank.")] = None
    role: Annotated[str | None, Field(description="Role of its worker.")] = None
    index: Annotated[int | None, Field(description="Index of its worker.")] = None
    pod: Annotated[str | None, Field(description="Its pod.")] = None
    node: Annotated[str | None, Field(description="The pod's node.")] = None
    exit_code: Annotated[int | None, Field(description="Exit code; 128 + signal for a signal.")] = None
    reason: Annotated[str, Field(description="One word: Exception, Exit, Signal, OOMKilled, …")] = ""
    message: Annotated[str, Field(description="Tail of the traceback or of the last output.")] = ""
    log_tail: Annotated[
        str | None, Field(description="The rank's last log lines, but for those that message has.")
    ] = None
    hint: Annotated[
        str | None, Field(description="What is behind it and what to do, if it is a known way to die.")
    ] = None


class Capture(StatusModel):
    """One profile of some ranks over some steps."""

    id: Annotated[str, Field(description="Its folder under captures/.")]
    phase: Annotated[
        str,
        Field(
            description="Requested, Armed, Capturing, Collecting; then Ready, Partial, Failed, NotReached or "
            "Refused."
        ),
    ]
    ranks: Annotated[str, Field(description="Ranks that have come to this phase, e.g. 4/4.")] = ""
    path: Annotated[str | None, Field(description="Folder in outputs.")] = None
    reason: Annotated[str | None, Field(description="Why it is partial, not reached, failed or refused.")] = (
        None
    )
    report: Annotated[str | None, Field(description="Its report, in outputs.")] = None
    report_reason: Annotated[str | None, Field(description="Why it has no report.")] = None


class Straggler(StatusModel):
    """A rank that the others wait for."""

    rank: Annotated[int, Field(description="The late rank.")]
    node: Annotated[str | None, Field(description="Its node.")] = None
    lateness_ms: Annotated[float, Field(description="Median lateness at collectives.")]
    cause: Annotated[str | None, Field(description="What it spends the time on.")] = None


class Finding(StatusModel):
    """One cause of lost time."""

    kind: Annotated[str, Field(description="One word for programs: Straggler, InputBound, …")]
    text: Annotated[str, Field(description="One sentence for people.")] = ""
    confidence: Annotated[str, Field(description="High or Medium.")] = ""
    cost_share: Annotated[float, Field(description="Share of the time of all steps, 0 to 1.")] = 0.0
    ranks: Annotated[Indexes, Field(description='The ranks to blame, e.g. "0,3-5"; empty: all alike.')] = ""
    node: Annotated[str | None, Field(description="The node to blame, if these are all of its ranks.")] = None
    cause: Annotated[str | None, Field(description="What the ranks spend the time on.")] = None
    line: Annotated[str | None, Field(description="The line of the program.")] = None
    evidence: Annotated[list[str], Field(description="The numbers that it rests on.")] = []
    next: Annotated[str | None, Field(description="What to do about it.")] = None


class ProfileStatus(StatusModel):
    """What profiling has shown."""

    last_capture_id: Annotated[str | None, Field(description="The newest capture.")] = None
    captures: Annotated[
        list[Capture], Field(json_schema_extra=keyed("captures"), description="Captures, oldest first.")
    ] = []
    verdict: Annotated[str | None, Field(description="Why the job is slow, in one sentence.")] = None
    verdict_time: Annotated[
        Time | None, Field(description="When the verdict became another one (RFC 3339).")
    ] = None
    findings: Annotated[
        list[Finding], Field(description="What the verdict rests on: what costs most comes first.")
    ] = []
    report_path: Annotated[str | None, Field(description="The job's report, in outputs.")] = None
    report_reason: Annotated[str | None, Field(description="Why the job has no report.")] = None
    stragglers: Annotated[
        list[Straggler],
        Field(json_schema_extra=keyed("stragglers"), description="Ranks that the others wait for."),
    ] = []


class Part(StrEnum):
    """Where a job's time goes; each second is in one of them."""

    QUEUED = "queued"
    SUSPENDED = "suspended"
    STARTING = "starting"
    COMPILING = "compiling"
    STEPPING = "stepping"
    PAUSES = "pauses"
    LOST = "lost"
    IDLE = "idle"
    UNCOUNTED = "uncounted"


class Timeline(StatusModel):
    """Where the job's time went, in seconds; written when the part changes."""

    part: Annotated[Part | None, Field(description="What goes on since then; absent at the end.")] = None
    since: Annotated[Time, Field(description="Until when the seconds are counted (RFC 3339).")]
    queued: Annotated[int | None, Field(description="From its creation, until it may start.")] = None
    suspended: Annotated[int | None, Field(description="While spec.suspend was true.")] = None
    starting: Annotated[int | None, Field(description="Until the ranks of the first attempt ran.")] = None
    compiling: Annotated[
        int | None, Field(description="From there to the first step: imports, reading, compiling.")
    ] = None
    stepping: Annotated[int | None, Field(description="From the first step to the last, less pauses.")] = None
    pauses: Annotated[int | None, Field(description="Between steps: evaluations, checkpoints.")] = None
    lost: Annotated[
        int | None,
        Field(description="By restarts: from the last step before to the first that is new, as far as seen."),
    ] = None
    idle: Annotated[int | None, Field(description="After the last step.")] = None
    uncounted: Annotated[int | None, Field(description="While ranks ran whose steps nobody saw.")] = None
    input: Annotated[int | None, Field(description="Of stepping, waiting for data.")] = None
    blocked: Annotated[int | None, Field(description="Of stepping, waiting for other ranks.")] = None

    def seconds(self, part: Part) -> int:
        """Return how many seconds have gone there, up to `since`."""
        found: int | None = getattr(self, part.value)
        return found or 0


class Display(StatusModel):
    """Strings for the printer columns."""

    workers: Annotated[str, Field(description="Ready and desired workers, e.g. 2/2.")] = ""
    progress: Annotated[str, Field(description="Percent, or the step where the total is unknown.")] = ""
    eta: Annotated[str, Field(description="Time to the end, e.g. 3m.")] = ""
    restarts: Annotated[str, Field(description="Restarts of both kinds.")] = ""


class JobStatus(StatusModel):
    """What the operator has seen and done."""

    observed_generation: Annotated[int | None, Field(description="Generation this was derived from.")] = None
    phase: Annotated[Phase | None, Field(description="Where the job is in its life.")] = None
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra=keyed("conditions"), description="Conditions; Finished is True either way."),
    ] = []
    attempt: Annotated[int, Field(description="Lives of the ranks so far.")] = 0
    pod_attempt: Annotated[int, Field(description="The attempt that created the present pods.")] = 0
    restarts: Annotated[Restarts, Field(description="Restarts so far, by cause.")] = Restarts()
    next_restart_time: Annotated[Time | None, Field(description="End of the backoff (RFC 3339).")] = None
    roles: Annotated[
        list[RoleStatus], Field(json_schema_extra=keyed("roles"), description="Pods by role.")
    ] = []
    workers: Annotated[
        int, Field(description="Pods of role worker that have not ended, for the scale subresource.")
    ] = 0
    selector: Annotated[str | None, Field(description="Label selector of the workers.")] = None
    gang: Annotated[
        GangMode | None,
        Field(description="Who places the pods of the present attempt all together; absent: nobody does."),
    ] = None
    replaced: Annotated[
        dict[str, int] | None,
        Field(description="By index, how often a worker of an elastic job was replaced in this attempt."),
    ] = None
    start_time: Annotated[Time | None, Field(description="Just before the first pod (RFC 3339).")] = None
    attempt_time: Annotated[
        Time | None, Field(description="When the present attempt was ordered (RFC 3339).")
    ] = None
    running_time: Annotated[
        Time | None, Field(description="When all workers of the present attempt first ran (RFC 3339).")
    ] = None
    completion_time: Annotated[Time | None, Field(description="When the job ended (RFC 3339).")] = None
    active_since: Annotated[
        Time | None, Field(description="Since when the deadline counts; absent while suspended (RFC 3339).")
    ] = None
    active_seconds: Annotated[
        int | None, Field(description="Time counted by the deadline before activeSince; in all at the end.")
    ] = None
    progress: Annotated[Progress | None, Field(description="How far the training is.")] = None
    timeline: Annotated[Timeline | None, Field(description="Where the job's time went.")] = None
    failure: Annotated[Failure | None, Field(description="The first failing rank.")] = None
    profile: Annotated[ProfileStatus | None, Field(description="What profiling has shown.")] = None
    display: Annotated[Display | None, Field(description="Strings for the printer columns.")] = None

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of a type, if status holds it."""
        return next((condition for condition in self.conditions if condition.type is kind), None)

    def to_wire(self) -> dict[str, object]:
        """Return the status as JSON data without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
