"""The few paths of a pod template that ftjob itself reads; all else is stored as it is written.

The whole PodTemplateSpec would make the CRD too large for client-side apply. Pods are created with
``fieldValidation=Strict``, so that a typo anywhere in the template is still found.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

TRAINER = "trainer"
"""The name that makes a container the trainer where there are several."""

AGENT_VOLUME = "ftjob-agent"
"""The volume with the agent and the job's token; ConfigMaps with the agent have names that begin so."""

RUN_VOLUME = "ftjob-run"
"""The volume for what the agent keeps while it runs."""

OUTPUTS_VOLUME = "ftjob-outputs"
"""The volume behind ``/ftjob/outputs``."""

SHM_VOLUME = "ftjob-shm"
"""The volume behind ``/dev/shm``."""

MOUNT_ROOT = "/ftjob"
"""All that we mount is below this path."""


class Shape(BaseModel):
    """A part of a Kubernetes object of which only some fields are declared."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow")


class EnvVarShape(Shape):
    """One variable of a container."""

    name: Annotated[str | None, Field(max_length=256, description="Name of the variable.")] = None


class VolumeMountShape(Shape):
    """One mount of a container."""

    name: Annotated[str | None, Field(max_length=63, description="Name of the volume.")] = None
    mount_path: Annotated[
        str | None, Field(max_length=1024, description="Where it is mounted; not below /ftjob.")
    ] = None


class ContainerShape(Shape):
    """One container."""

    name: Annotated[
        str | None, Field(description="Name of the container; trainer marks the one that trains.")
    ] = None
    command: Annotated[
        list[str] | None,
        Field(description="What is run. The trainer must have one: the agent starts it once for each rank."),
    ] = None
    env: Annotated[
        list[EnvVarShape] | None,
        Field(
            max_length=1000,
            description="Variables. Those that say who a rank is (RANK, TF_CONFIG, ...) are set by ftjob "
            "and refused in the trainer.",
        ),
    ] = None
    volume_mounts: Annotated[
        list[VolumeMountShape] | None, Field(max_length=200, description="Mounts of volumes.")
    ] = None
    restart_policy: Annotated[
        str | None, Field(description="Not for the trainer: ftjob restarts the ranks itself.")
    ] = None


class InitContainerShape(Shape):
    """One init container."""

    name: Annotated[str | None, Field(description="Name of the init container.")] = None


class VolumeShape(Shape):
    """One volume."""

    name: Annotated[str | None, Field(max_length=63, description="Name of the volume.")] = None


class MetadataShape(Shape):
    """Metadata of the pods."""

    labels: Annotated[
        dict[str, str] | None,
        Field(max_length=200, description="Labels of the pods; ftjob adds its own under ftjob.dev/."),
    ] = None


class PodSpecShape(Shape):
    """Spec of the pods."""

    containers: Annotated[
        list[ContainerShape],
        Field(
            min_length=1,
            max_length=32,
            description="The trainer (named trainer, or the only container) and containers beside it.",
        ),
    ]
    init_containers: Annotated[
        list[InitContainerShape] | None, Field(max_length=32, description="Run before the trainer.")
    ] = None
    volumes: Annotated[list[VolumeShape] | None, Field(max_length=200, description="Volumes.")] = None
    restart_policy: Annotated[str | None, Field(description="Never, or left out.")] = None
    hostname: Annotated[str | None, Field(description="Must be left out: it is the pod's name.")] = None
    subdomain: Annotated[str | None, Field(description="Must be left out: it is the job's name.")] = None


class TemplateShape(Shape):
    """A PodTemplateSpec."""

    metadata: Annotated[MetadataShape | None, Field(description="Metadata of the pods.")] = None
    spec: Annotated[PodSpecShape, Field(description="A PodSpec; see `kubectl explain pod.spec`.")]
