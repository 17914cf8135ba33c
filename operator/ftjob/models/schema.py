"""Pydantic models as structural schemas of Kubernetes.

The API server refuses a schema with references, and one whose ``additionalProperties`` stand beside
``properties``; it calls an open object ``x-kubernetes-preserve-unknown-fields``. Defaults are told in the
description and not set: an API server that fills them in rewrites objects, so that ``kubectl diff`` and
GitOps tools see changes that nobody made, and a later default could not reach a stored job.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from ftjob.models.patterns import EXPECTED

Schema = dict[str, Any]

DROPPED = frozenset({"title", "default", "$defs", "$ref"})


class Model(BaseModel):
    """A frozen model with camelCase names on the wire that refuses unknown fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model, under the names that are used on the wire."""
    whole = model.model_json_schema(by_alias=True)
    return _convert(whole, whole.get("$defs", {}))


def _convert(node: Schema, models: dict[str, Schema]) -> Schema:
    if "$ref" in node:
        # What stands at the field wins over what stands at the model.
        referred = models[node["$ref"].removeprefix("#/$defs/")]
        return _convert({**referred, **{key: node[key] for key in node if key != "$ref"}}, models)
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        return _convert(_one_arm(node), models)
    result: Schema = {key: value for key, value in node.items() if key not in DROPPED}
    if "properties" in node:
        result["properties"] = {name: _convert(child, models) for name, child in node["properties"].items()}
        # False is what Kubernetes does anyway: it refuses or prunes what is not declared.
        if result.pop("additionalProperties", False) is True:
            result["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(node["additionalProperties"], models)
    if "items" in node:
        result["items"] = _convert(node["items"], models)
    if node.get("type") == "string" and "pattern" in node:
        rule = {"rule": f"self.matches('{node['pattern']}')", "message": f"write {EXPECTED[node['pattern']]}"}
        result = {key: value for key, value in result.items() if key != "pattern"}
        result["x-kubernetes-validations"] = [rule]
    if "description" in result:
        result["description"] = _described(node)
    return result


def _one_arm(node: Schema) -> Schema:
    """Return ``X | None`` as X, and ``str | int`` as Kubernetes' own kind of value."""
    arms = [arm for arm in node["anyOf"] if arm != {"type": "null"}]
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    if len(arms) == 1:
        return {**arms[0], **beside}
    if sorted(arm["type"] for arm in arms) != ["integer", "string"]:
        raise TypeError(f"a structural schema has no words for this union: {node}")
    pattern = {key: arm[key] for arm in arms for key in ("pattern", "maxLength") if key in arm}
    either = [{"type": "integer"}, {"type": "string"}]
    return {"anyOf": either, "x-kubernetes-int-or-string": True, **pattern, **beside}


def _described(node: Schema) -> str:
    """Return the description in one line, with the default where it is a plain value."""
    text = " ".join(node["description"].split())
    default = node.get("default")
    if default is None or isinstance(default, dict) or default in ([], ""):
        return text
    if isinstance(default, bool):
        return f"{text} Default: {str(default).lower()}."
    return f"{text} Default: {', '.join(default) if isinstance(default, list) else default}."
