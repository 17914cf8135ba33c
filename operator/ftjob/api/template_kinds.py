"""What ftjob reads of a pod template beyond the CRD's types: a list where a list belongs.

The CRD leaves these fields open, and Kubernetes would refuse the pod; but ftjob reads and changes them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftjob.api.problem import Problem
from ftjob.models.manifest import containers_of, trainer_in

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


_KINDS: dict[str, Callable[[Any], bool]] = {
    "a text": lambda value: isinstance(value, str),
    "a list of texts": lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
    "names and values": lambda value: isinstance(value, dict),
    "names and plain values": lambda value: isinstance(value, dict) and all(map(_is_plain, value.values())),
    "a list of objects": lambda value: (
        isinstance(value, list) and all(isinstance(one, dict) for one in value)
    ),
    "a list of names and plain values": lambda value: (
        isinstance(value, list)
        and all(isinstance(one, dict) and all(map(_is_plain, one.values())) for one in value)
    ),
}

_FIELDS = {
    "metadata.annotations": "names and plain values",
    "spec.nodeSelector": "names and plain values",
    "spec.tolerations": "a list of names and plain values",
    "spec.affinity": "names and values",
    **{
        f"spec.affinity.{kind}": "names and values"
        for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")
    },
    f"spec.affinity.nodeAffinity.{PREFERRED}": "a list of objects",
    f"spec.affinity.nodeAffinity.{REQUIRED}": "names and values",
    f"spec.affinity.podAffinity.{REQUIRED}": "a list of objects",
    f"spec.affinity.podAntiAffinity.{REQUIRED}": "a list of objects",
    **dict.fromkeys(("spec.dnsPolicy", "spec.priorityClassName", "spec.schedulerName"), "a text"),
    "spec.resources": "names and values",
    "spec.resources.limits": "names and plain values",
    "spec.resources.requests": "names and plain values",
}
_OF_THE_TRAINER = {
    "args": "a list of texts",
    "ports": "a list of objects",
    "resources": "names and values",
    "resources.limits": "names and plain values",
    "resources.requests": "names and plain values",
}


def kind_problems(template: dict[str, Any], path: str) -> Iterator[Problem]:
    """Yield what is another kind of data than Kubernetes takes there, in a template at a path of the job."""
    for field, kind in _FIELDS.items():
        yield from _problem(template, field, kind, path)
    trainer = trainer_in(template)
    index = next((at for at, found in enumerate(containers_of(template)) if found is trainer), 0)
    for field, kind in _OF_THE_TRAINER.items():
        yield from _problem(trainer, field, kind, f"{path}.spec.containers[{index}]")


def _problem(value: Any, field: str, kind: str, path: str) -> Iterator[Problem]:
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if value is not None and not _KINDS[kind](value):
        yield Problem(f"{path}.{field}", "it is not what Kubernetes takes there", f"write {kind}")
