"""Kubernetes objects as plain data, and safe ways to look into them."""

from __future__ import annotations

from typing import Any

from ftjob.models.template import TRAINER

Manifest = dict[str, Any]


def items(parent: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects in a list of a template; what is not there or no object is left out."""
    found = parent.get(key) if isinstance(parent, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def mapping(parent: Any, *path: str) -> dict[str, Any]:
    """Return an object somewhere in a template; empty if it is not there or something else is."""
    for key in path:
        parent = parent.get(key) if isinstance(parent, dict) else None
    return parent if isinstance(parent, dict) else {}


GRACE_SECONDS = 30
"""Kubernetes' default of terminationGracePeriodSeconds."""

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")

MIG_PREFIX = "nvidia.com/mig-"

GPUS_MAX = 1_000_000
"""More than any machine has; Python reads no number of very many digits."""


def trainer_in(template: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer: the container named ``trainer``, or the only one; empty if there is none."""
    containers = containers_of(template)
    named = [container for container in containers if container.get("name") == TRAINER]
    return (named or (containers if len(containers) == 1 else []) or [{}])[0]


def containers_of(template: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers of a pod template."""
    return items(template.get("spec"), "containers")


def conditions_of(status: Any) -> dict[str, dict[str, Any]]:
    """Return the conditions in an object's status by their types."""
    return {str(condition.get("type")): condition for condition in items(status, "conditions")}


def gpus_of(container: dict[str, Any]) -> int:
    """Return how many GPUs (or MIG slices) a container asks for."""
    limits = mapping(container, "resources", "limits")  # extended resources count only where they are limits
    return sum(
        min(GPUS_MAX, int(str(amount)[: len(str(GPUS_MAX))]))
        for name, amount in limits.items()
        if (name in GPU_RESOURCES or name.startswith(MIG_PREFIX)) and str(amount).isdecimal()
    )


def grace_seconds(template: dict[str, Any]) -> int:
    """Return for how long a pod may go on after it was told to end."""
    seconds = mapping(template, "spec").get("terminationGracePeriodSeconds")
    return seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else GRACE_SECONDS
