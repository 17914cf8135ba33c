"""The CustomResourceDefinition, made from the models and the rules.

Valid from Kubernetes 1.32 on, and small enough for client-side apply. ``ftjob crd`` prints it.
What the schema does not declare is refused by ``kubectl apply``, which asks the API server for strict checks;
for clients that do not, the API server drops it without a word, so that nobody ever sees or keeps it. Only
the pod template is kept as it is written: a typo in there is found when the pods are created.
"""

from __future__ import annotations

from typing import Any

import yaml

from ftjob.api.rules.rule import cel_entry
from ftjob.api.spec_schema import spec_schema
from ftjob.api.validate import NAME_PATTERN, NAME_PROBLEM, RULES
from ftjob.models.names import (
    API_VERSION,
    CATEGORY,
    CONTROLLER,
    GROUP,
    JOB_NAME_MAX,
    KIND,
    PLURAL,
    SHORT_NAME,
    SINGULAR,
    VERSION,
)
from ftjob.models.schema import Schema, structural
from ftjob.models.status import JobStatus

EDITABLE = ("suspend", "profiling", "ttlSecondsAfterFinished", "activeDeadlineSeconds")
"""Fields of the spec that may change while the job runs; ``workers`` too if it is elastic."""

IMMUTABLE: dict[str, str | None] = {"strategy": None, "managedBy": CONTROLLER}
"""Fields of the spec that never change, not even before the start, and what they are if left out."""

COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("Strategy", "string", ".spec.strategy", 0),
    ("Phase", "string", ".status.phase", 0),
    ("Workers", "string", ".status.display.workers", 0),
    ("Progress", "string", ".status.display.progress", 0),
    ("ETA", "string", ".status.display.eta", 0),
    ("Restarts", "string", ".status.display.restarts", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Step", "integer", ".status.progress.step", 1),
    ("Verdict", "string", ".status.profile.verdict", 1),
    ("Straggler", "integer", ".status.profile.stragglers[0].rank", 1),
    ("Queue", "string", ".spec.scheduling.queue", 1),
)
"""Name, type, path and priority of the printer columns; priority 1 shows with ``-o wide``."""


def build_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition as plain data."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root_schema()},
                    "subresources": {
                        "status": {},
                        # For elastic jobs; the workers of others can't be changed after the start.
                        "scale": {
                            "specReplicasPath": ".spec.workers",
                            "statusReplicasPath": ".status.workers",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "selectableFields": [
                        {"jsonPath": path} for path in (".spec.strategy", ".spec.managedBy", ".status.phase")
                    ],
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if priority else {})
                        for name, kind, path, priority in COLUMNS
                    ],
                }
            ],
        },
    }


def render_crd() -> str:
    """Return the CustomResourceDefinition as YAML."""
    return yaml.dump(build_crd(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def _root_schema() -> Schema:
    spec = spec_schema()
    for rule in RULES:
        if rule.cel is not None:
            _rules_of(_at(spec, rule.at)).append(rule.to_cel())
    _rules_of(spec).extend(_immutable(name, default) for name, default in IMMUTABLE.items())
    return {
        "type": "object",
        "description": "A training job: a pod template, a strategy and a number of workers, which ftjob "
        "wires together, watches and profiles.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{API_VERSION}."},
            "kind": {"type": "string", "description": f"{KIND}."},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            "status": structural(JobStatus),
        },
        "x-kubernetes-validations": [
            cel_entry(
                f"self.metadata.name.size() <= {JOB_NAME_MAX} "
                f"&& self.metadata.name.matches('{NAME_PATTERN}')",
                f"{NAME_PROBLEM.message}; {NAME_PROBLEM.remedy}",
                path=".metadata.name",
                reason="FieldValueForbidden",
            ),
            _frozen([name for name in spec["properties"] if name not in {*EDITABLE, *IMMUTABLE}]),
        ],
    }


def _at(spec: Schema, path: str) -> Schema:
    node = spec
    for part in path.split(".")[1:]:
        node = node["properties"][part]
    return node


def _rules_of(node: Schema) -> list[Schema]:
    rules: list[Schema] = node.setdefault("x-kubernetes-validations", [])
    return rules


def _immutable(name: str, default: str | None) -> Schema:
    same = f"has(self.{name}) && has(oldSelf.{name}) && self.{name} == oldSelf.{name}"
    if default is not None:  # writing the default out, or no longer, changes nothing
        same = (
            f"(has(self.{name}) ? self.{name} : '{default}') == "
            f"(has(oldSelf.{name}) ? oldSelf.{name} : '{default}')"
        )
    return cel_entry(
        same,
        f"{name} can't be changed; delete the job and apply it again, or apply it under another name",
        path=f".{name}",
        reason="FieldValueForbidden",
    )


def _frozen(names: list[str]) -> Schema:
    """Return the rule that keeps fields as they were when the first pod was made from them.

    One rule, and what is true of most writes comes first: the first one of a status finds no start time, the
    others leave the spec as it is. To compare specs is the most expensive thing that is evaluated.
    """

    def same(name: str) -> str:
        both = f"has(self.spec.{name}) && has(oldSelf.spec.{name}) && self.spec.{name} == oldSelf.spec.{name}"
        unless = "has(self.spec.elastic) || " if name == "workers" else ""
        return f"({unless}(has(self.spec.{name}) ? {both} : !has(oldSelf.spec.{name})))"

    changed = " + ".join(f"({same(name)} ? '' : '{name} ')" for name in names)
    text = (
        "can't be changed after the job has started; "
        "delete the job and apply it again, or apply it under another name"
    )
    entry = cel_entry(
        "!oldSelf.?status.?startTime.hasValue() || self.spec == oldSelf.spec || ("
        + " && ".join(map(same, names))
        + ")",
        f"what its pods are made from {text}",
        path=".spec",
        reason="FieldValueForbidden",
    )
    return entry | {"messageExpression": f'{changed} + "{text}"'}


class _Dumper(yaml.SafeDumper):
    """Writes every value out: no anchors where the same data occurs twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
