"""`--set FIELD=VALUE`: one field of a job, as it would stand in its YAML."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ftjob.client import JobInvalid

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def apply(body: dict[str, Any], changes: list[str]) -> None:
    """Change fields of a job in place.

    Parameters
    ----------
    changes
        Such as ``spec.workers=4`` or ``spec.template.spec.containers[0].image=train:2``; values are YAML.
        An empty value removes the field.

    Raises
    ------
    JobInvalid
        One can't be read, or there is no such item.
    """
    for change in changes:
        field, equals, text = change.partition("=")
        parts = [name or int(number) for name, number in _PART.findall(field)]
        if not equals or not parts or parts[0] not in {"spec", "metadata"}:
            raise JobInvalid(f"--set {change}: write a field and its value, as spec.workers=4")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise JobInvalid(f"--set {change}: its value is no YAML; quote it") from None
        _put(body, parts, value, change)


def _put(node: Any, parts: list[str | int], value: Any, change: str) -> None:
    for place, part in enumerate(parts):
        is_last = place == len(parts) - 1
        if isinstance(part, int):
            if not isinstance(node, list) or part >= len(node):
                raise JobInvalid(f"--set {change}: there is no item [{part}]; the first is [0]")
        elif not isinstance(node, dict):
            raise JobInvalid(f"--set {change}: what is above {part} has no fields")
        if is_last and value is None and isinstance(node, dict):
            node.pop(part, None)
        elif is_last:
            node[part] = value
        elif isinstance(part, int) or part in node:
            node = node[part]
        else:
            node[part] = {}
            node = node[part]
