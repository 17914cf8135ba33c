"""The spec of a FrameworkTrainingJob as users write it.

Every field's description becomes ``kubectl explain``, where ``ftjob.api.spec_schema`` adds the names of
strategies; what fields may not say together is in ``ftjob.api.rules``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from ftjob.models import patterns
from ftjob.models.brought import Code
from ftjob.models.manifest import trainer_in
from ftjob.models.names import WORKER
from ftjob.models.schema import Model, structural
from ftjob.models.template import TemplateShape
from ftjob_protocol.agent_config import EXCEPTION_GRACE_SECONDS


class SuccessPolicy(StrEnum):
    """Which workers decide that the job has succeeded."""

    ALL_WORKERS = "AllWorkers"
    WORKER_0 = "Worker0"
    CHIEF = "Chief"


class CleanPods(StrEnum):
    """Which pods are deleted when the job ends."""

    RUNNING = "Running"
    ALL = "All"
    NONE = "None"


class AccessMode(StrEnum):
    """Access modes of a claim that several nodes may need."""

    READ_WRITE_MANY = "ReadWriteMany"
    READ_WRITE_ONCE = "ReadWriteOnce"


class WhenDeleted(StrEnum):
    """What becomes of the outputs claim with the job."""

    RETAIN = "Retain"
    DELETE = "Delete"


class GangMode(StrEnum):
    """Who places the workers all together or not at all."""

    AUTO = "Auto"
    NATIVE = "Native"
    VOLCANO = "Volcano"
    COSCHEDULING = "Coscheduling"
    OFF = "Off"


class ProfilingMode(StrEnum):
    """When profiles are captured."""

    OFF = "Off"
    ON_DEMAND = "OnDemand"
    SCHEDULED = "Scheduled"


class Tool(StrEnum):
    """What a capture records."""

    FRAMEWORK = "Framework"
    SYSTEM = "System"
    STACKS = "Stacks"


class TpuLibrary(StrEnum):
    """The framework that drives the TPU."""

    TENSORFLOW = "TensorFlow"
    TORCH_XLA = "TorchXLA"
    JAX = "JAX"


class RestartAction(StrEnum):
    """What a restart rule does."""

    RESTART = "Restart"
    FAIL = "Fail"


PodTemplate = Annotated[dict[str, Any], WithJsonSchema(structural(TemplateShape))]
"""A PodTemplateSpec, stored as it is written; the CRD knows the paths that ``TemplateShape`` declares."""

Replicas = Annotated[int, Field(ge=1, le=10_000)]


class Role(Model):
    """One further group of identical pods of a job."""

    replicas: Annotated[int | None, Field(ge=0, le=10_000, description="Pods of this role.")] = None
    template: Annotated[
        PodTemplate | None, Field(description="A PodTemplateSpec for this role; spec.template if left out.")
    ] = None


class Roles(Model):
    """The roles beside ``worker``; which of them a strategy has, it says itself."""

    chief: Annotated[Role | None, Field(description="The coordinator; one pod.")] = None
    ps: Annotated[Role | None, Field(description="The parameter servers.")] = None
    evaluator: Annotated[Role | None, Field(description="An evaluator beside the training.")] = None


class Tpu(Model):
    """Which TPU the workers run on."""

    library: Annotated[TpuLibrary, Field(description="The framework that drives the TPU.")]
    accelerator: Annotated[
        str | None, Field(max_length=63, description="GKE accelerator type, e.g. tpu-v5-lite-podslice.")
    ] = None
    topology: Annotated[
        str | None,
        Field(pattern=patterns.TOPOLOGY, max_length=20, description="Chips of a slice, e.g. 2x4."),
    ] = None
    chips_per_worker: Annotated[int | None, Field(ge=1, le=8, description="Chips of one TPU host.")] = None
    slices: Annotated[int, Field(ge=1, le=1000, description="Slices of the job.")] = 1
    endpoints: Annotated[
        list[Annotated[str, Field(max_length=253)]],
        Field(
            max_length=1000, description="Legacy TPU nodes, grpc://host:8470, instead of chips in the pod."
        ),
    ] = []


class Elastic(Model):
    """Between how many workers the job may run."""

    min_workers: Annotated[Replicas, Field(description="Training waits for this many workers.")]
    max_workers: Annotated[Replicas, Field(description="Upper bound of spec.workers.")]


class RestartRule(Model):
    """One rule about restarts by the reason of the failure; the first match wins."""

    on_reason: Annotated[
        str, Field(min_length=1, max_length=63, description="Reason of the failure, e.g. OOMKilled or Hang.")
    ]
    action: Annotated[RestartAction, Field(description="What to do then.")]


class Restart(Model):
    """When and how often a failed attempt is followed by another."""

    limit: Annotated[int, Field(ge=0, le=10_000, description="Failures after which no restart follows.")] = 0
    in_place: Annotated[bool, Field(description="Start the ranks again in the same, healthy pods.")] = True
    retry_exit_codes: Annotated[
        str,
        Field(
            max_length=256,
            pattern=patterns.EXIT_CODES,
            description='Exit codes worth another attempt, e.g. "42,128-255"; all others are permanent.',
        ),
    ] = "128-255"
    rules: Annotated[
        list[RestartRule], Field(max_length=32, description="Rules by reason, first match wins.")
    ] = []
    backoff_seconds: Annotated[
        int, Field(ge=0, le=300, description="Wait before a restart; doubled each time, at most 300.")
    ] = 5
    count_disruptions: Annotated[
        bool, Field(description="Let evictions, preemptions and lost nodes spend the limit.")
    ] = False


class Scheduling(Model):
    """How the pods are placed."""

    gang: Annotated[GangMode, Field(description="Who places all workers together or none.")] = GangMode.AUTO
    queue: Annotated[
        str | None,
        Field(
            max_length=253,
            pattern=patterns.SUBDOMAIN,
            description="Queue of Volcano; for Kueue label the job instead.",
        ),
    ] = None
    priority_class_name: Annotated[
        str | None,
        Field(max_length=253, pattern=patterns.SUBDOMAIN, description="PriorityClass of the pods."),
    ] = None
    topology_key: Annotated[
        str | None,
        Field(
            max_length=317,
            pattern=patterns.LABEL_KEY,
            description="All workers in one domain of this node label.",
        ),
    ] = None
    timeout_seconds: Annotated[
        int | None, Field(ge=1, le=31_536_000, description="Give up if not all workers run by then.")
    ] = None


class Outputs(Model):
    """The shared volume, mounted at /ftjob/outputs in every trainer."""

    claim_name: Annotated[
        str | None,
        Field(
            max_length=253,
            pattern=patterns.SUBDOMAIN,
            description="An existing claim. Left out: one is made.",
        ),
    ] = None
    storage_class_name: Annotated[
        str | None,
        Field(
            max_length=253,
            pattern=patterns.SUBDOMAIN,
            description="Storage class of the claim that is made; the operator's default if left out.",
        ),
    ] = None
    size: Annotated[
        str | None,
        Field(
            max_length=32,
            pattern=patterns.QUANTITY,
            description="Size of the claim that is made; 10Gi if left out.",
        ),
    ] = None
    access_mode: Annotated[
        AccessMode | None,
        Field(description="Access mode of the claim that is made; ReadWriteMany if left out."),
    ] = None
    when_deleted: Annotated[
        WhenDeleted, Field(description="Retain keeps the claim that was made when the job is deleted.")
    ] = WhenDeleted.RETAIN
    path: Annotated[
        str | None,
        Field(
            max_length=512,
            pattern=patterns.FOLDER,
            description="Folder in the volume; <namespace>/<name>/<uid> if left out or empty.",
        ),
    ] = None
    log_limit: Annotated[
        str | None,
        Field(
            max_length=32,
            pattern=patterns.MEBIBYTES,
            description="Most bytes of a rank's log, in Mi, Gi or Ti; 1Gi if left out. Head and tail stay.",
        ),
    ] = None


class Schedule(Model):
    """Steps of a scheduled capture, counted as torch.profiler.schedule counts them."""

    skip_first: Annotated[int, Field(ge=0, le=1_000_000_000, description="Steps before all else.")] = 10
    wait: Annotated[int, Field(ge=0, le=1_000_000_000, description="Steps to idle before each capture.")] = 5
    warmup: Annotated[int, Field(ge=0, le=1000, description="Steps traced and thrown away.")] = 2
    active: Annotated[int, Field(ge=1, le=1000, description="Steps that are kept.")] = 3
    repeat: Annotated[int, Field(ge=1, le=100, description="Captures in all.")] = 1


class ProfilingOptions(Model):
    """What the framework's profiler records beside times."""

    shapes: Annotated[bool, Field(description="Shapes of the operators' inputs.")] = True
    memory: Annotated[bool, Field(description="Allocations.")] = False
    stacks: Annotated[bool, Field(description="Python stacks of operators; not of TensorFlow 2.21.")] = False


class Budget(Model):
    """How much the captures may take in the outputs volume."""

    max_bytes: Annotated[
        Annotated[str, Field(max_length=32, pattern=patterns.QUANTITY)] | Annotated[int, Field(ge=1)] | None,
        Field(description="Bytes of all captures together, e.g. 2Gi."),
    ] = None
    keep_last: Annotated[int | None, Field(ge=1, le=1000, description="Captures that are kept.")] = None


class Profiling(Model):
    """Which ranks are profiled, when and by what."""

    mode: Annotated[ProfilingMode, Field(description="Off, OnDemand or Scheduled.")] = ProfilingMode.ON_DEMAND
    schedule: Annotated[Schedule, Field(description="When Scheduled captures happen.")] = Schedule()
    ranks: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=patterns.RANK_LIST,
            description='All, OnePerWorker, or a list such as "0,8-15".',
        ),
    ] = "All"
    tools: Annotated[list[Tool], Field(min_length=1, max_length=3, description="What a capture records.")] = [
        Tool.FRAMEWORK,
        Tool.SYSTEM,
    ]
    options: Annotated[ProfilingOptions, Field(description="Details of the framework's profiler.")] = (
        ProfilingOptions()
    )
    budget: Annotated[Budget | None, Field(description="Bounds of what is kept.")] = None


class Watchdog(Model):
    """When a job without progress is ended."""

    hang_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=31_536_000,
            description="No step for so long is a hang (three times as long before "
            "the first one): collect stacks, fail the attempt.",
        ),
    ]


class JobSpec(Model):
    """What a user asks for."""

    strategy: Annotated[str, Field(description="How the workers cooperate. Immutable.")]
    workers: Annotated[
        Replicas | None,
        Field(description="Pods of role worker, in all; if left out the hosts of the TPU, or 1."),
    ] = None
    processes_per_worker: Annotated[
        int | None,
        Field(ge=1, le=256, description="Ranks a pod; the GPUs the trainer asks for if left out, else 1."),
    ] = None
    template: Annotated[
        PodTemplate,
        Field(
            description="A PodTemplateSpec. The trainer is the container named trainer, or the only one; "
            "it must have a command."
        ),
    ]
    code: Annotated[
        Code | None, Field(description="The ranks' working folder, first on their PYTHONPATH.")
    ] = None
    roles: Annotated[Roles | None, Field(description="Roles beside worker.")] = None
    tpu: Annotated[Tpu | None, Field(description="The TPU to use; required for strategy TPU.")] = None
    elastic: Annotated[Elastic | None, Field(description="Let workers come and go.")] = None
    success: Annotated[
        SuccessPolicy | None, Field(description="Who decides on success; the strategy's own if left out.")
    ] = None
    restart: Annotated[Restart, Field(description="When a failed attempt is followed by another.")] = (
        Restart()
    )
    suspend: Annotated[bool, Field(description="No pods while true.")] = False
    active_deadline_seconds: Annotated[
        int | None, Field(ge=1, le=31_536_000, description="Longest time running, in seconds.")
    ] = None
    exception_grace_seconds: Annotated[
        int,
        Field(ge=0, le=86_400, description="How long a rank may work on after an uncaught exception."),
    ] = EXCEPTION_GRACE_SECONDS
    ttl_seconds_after_finished: Annotated[
        int | None, Field(ge=0, le=315_360_000, description="The job is deleted so long after its end.")
    ] = None
    clean_pods: Annotated[CleanPods, Field(description="Which pods are deleted when the job ends.")] = (
        CleanPods.RUNNING
    )
    scheduling: Annotated[Scheduling, Field(description="How the pods are placed.")] = Scheduling()
    outputs: Annotated[
        Outputs | None, Field(description="The shared volume. Left out: an emptyDir in each pod.")
    ] = None
    profiling: Annotated[Profiling, Field(description="What is profiled, and when.")] = Profiling()
    watchdog: Annotated[Watchdog | None, Field(description="What ends a job without progress.")] = None
    managed_by: Annotated[
        str | None,
        Field(
            max_length=63,
            pattern=patterns.CONTROLLER_NAME,
            description="The controller in charge; ftjob.dev/operator if left out. Immutable.",
        ),
    ] = None


def template_of(spec: JobSpec, role: str = WORKER) -> dict[str, Any]:
    """Return the pod template of a role: its own, or else that of the job."""
    own = getattr(spec.roles, role, None) if spec.roles is not None else None
    return own.template if own is not None and own.template is not None else spec.template


def trainer_of(spec: JobSpec, role: str = WORKER) -> dict[str, Any]:
    """Return the trainer of a role's pods; empty if there is none."""
    return trainer_in(template_of(spec, role))
