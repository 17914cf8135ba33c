"""Whatever a job says, it is refused by name or planned; nothing raises, and equal jobs have equal plans."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import CONFIG, NOW, UID, WITH_POLICIES, observed, pod
from support.corpus import examples, saved, to_save
from support.jobs import job
from support.malformed import schema_fields

from ftjob.api.crd import build_crd
from ftjob.api.job import Job, parse_job
from ftjob.api.validate import validate
from ftjob.models.names import KUEUE_LABEL
from ftjob.plan.decide import decide
from ftjob.plan.kueue.queue import as_admitted
from ftjob.plan.plan import Step
from ftjob.plan.status.derive import derive_status
from ftjob.strategies import STRATEGIES

[VERSION] = build_crd()["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]["properties"]
STATUS = jsonschema.Draft7Validator(SCHEMA["status"])
FIELDS = {path: node for name in ("spec", "status") for path, node in schema_fields(SCHEMA[name], name)}
POD = "spec.template.spec"
TRAINER = f"{POD}.containers[0]"
OPEN = (
    *(f"metadata.{name}" for name in ("name", "labels", "annotations", "generation", "uid", "namespace")),
    f"metadata.labels.{KUEUE_LABEL}".replace(".", "\\."),
    *("spec.template.metadata", "spec.template.metadata.labels", "spec.template.metadata.annotations", POD),
    *(
        f"{POD}.{name}"
        for name in (
            "containers",
            "initContainers",
            "volumes",
            "tolerations",
            "affinity",
            "affinity.podAntiAffinity",
            "affinity.nodeAffinity",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
            "nodeSelector",
            "securityContext",
            "schedulingGates",
            "topologySpreadConstraints",
            "hostNetwork",
            "restartPolicy",
            "subdomain",
            "hostname",
            "serviceAccountName",
            "imagePullSecrets",
            "terminationGracePeriodSeconds",
            "activeDeadlineSeconds",
            "resourceClaims",
        )
    ),
    *(
        f"{TRAINER}.{name}"
        for name in (
            "name",
            "image",
            "command",
            "args",
            "env",
            "env[0]",
            "env[0].valueFrom",
            "envFrom",
            "resources",
            "resources.limits",
            "resources.requests",
            "ports",
            "volumeMounts",
            "volumeMounts[0]",
            "securityContext",
            "lifecycle",
            "workingDir",
            "restartPolicy",
            "terminationMessagePath",
        )
    ),
)
"""What the schema leaves open, or to Kubernetes."""

WORDS = st.text(max_size=8) | st.sampled_from(
    [
        *(
            "",
            "a",
            "0",
            "-1",
            "1Gi",
            "1e400",
            "9" * 400,
            "0-3",
            "$(RANK)",
            "\ud83d",
            "\x00",
            "/",
            "..",
            "2x4",
        ),
        *(
            "trainer",
            "nvidia.com/gpu",
            "cpu",
            "memory",
            "torchrun",
            "2026-01-01T00:00:00Z",
            "9999-12-31T23:59:60Z",
        ),
    ]
)
NUMBERS = st.integers(-2, 70) | st.integers(-(2**70), 2**70) | st.floats()
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(WORDS | st.sampled_from(["name", "value", "limits", "spec"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def fitting(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return what the schema of a field allows, roughly."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    least = node.get("minimum", -3)
    plain: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(least, min(node.get("maximum", 2**63), least + 99)),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "string": WORDS,
    }
    kind = node.get("type", "")
    if kind in plain:
        return plain[kind]
    if kind == "array":
        return st.lists(fitting(node["items"]), max_size=3)
    if "properties" in node:
        inner = {name: fitting(found) for name, found in node["properties"].items()}
        required = {name: inner.pop(name) for name in node.get("required", [])}
        return st.fixed_dictionaries(required, optional=inner)
    values = node.get("additionalProperties")
    return st.dictionaries(WORDS, fitting(values), max_size=2) if isinstance(values, dict) else ANY


def is_json(value: Any) -> bool:
    """Return whether an API server can have stored it: JSON has neither NaN nor infinity; a file may."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


VALUES = {path: st.tuples(st.just(path), ANY | fitting(node)) for path, node in FIELDS.items()}
VALUES |= {
    path: values.filter(lambda change: is_json(change[1]))
    for path, values in VALUES.items()
    if path.startswith("status")
}
VALUES |= {path: st.tuples(st.just(path), ANY) for path in OPEN}
CHANGE = st.sampled_from(list(VALUES)).flatmap(VALUES.__getitem__)
CHANGES = st.lists(CHANGE, max_size=4)
STARTS = [(name, number) for name, found in STRATEGIES.items() for number in range(len(found.examples))]


def changed(start: tuple[str, int], changes: list[tuple[str, Any]]) -> Any:
    """Return a good job of a strategy with some fields set."""
    body: Any = copy.deepcopy(job())
    del body["spec"]["workers"], body["spec"]["processesPerWorker"]
    body["spec"] |= {"strategy": start[0], **copy.deepcopy(STRATEGIES[start[0]].examples[start[1]])}
    body["metadata"] |= {"uid": UID, "generation": 1, "resourceVersion": "1"}
    for path, value in changes:
        put(body, re.findall(r"(?:\\.|[^.\[\]])+", path), value)
    return body


def put(node: Any, parts: list[str], value: Any) -> None:
    """Set a field, and make what is above it unless another thing stands there."""
    part = parts[0].replace("\\", "")
    if isinstance(node, list) and part.isdecimal():
        node.extend([{}] * (int(part) + 1 - len(node)))
        node[int(part)] = inner = value if len(parts) == 1 else copy.copy(node[int(part)])
    elif isinstance(node, dict):
        empty: Any = [] if parts[1:] and parts[1].isdecimal() else {}
        node[part] = inner = value if len(parts) == 1 else node.get(part, empty)
    else:
        return
    if len(parts) > 1:
        put(inner, parts[1:], value)


def outcome(body: Any, number: int) -> str:
    """Return all that follows from a job as the operator does it, as JSON."""
    seen = [
        observed(),
        observed(pod().running(), pod(1).failed()),
        observed(pod(0).succeeded(), pod(1).disrupted()),
    ][number]
    parsed = parse_job(body)
    if parsed.not_understood is not None:
        return str(parsed.not_understood)  # it is left alone
    problems = validate(parsed)
    assert all(problem.field and problem.message and problem.remedy for problem in problems)
    assert isinstance(parsed, Job) or problems
    submitted = as_admitted(parsed, seen)
    plan = decide(submitted, seen, now=NOW, config=WITH_POLICIES if number else CONFIG)
    if (
        problems
        and not parsed.status.start_time
        and not (parsed.status.phase and parsed.status.phase.is_final)
    ):
        assert plan.step is Step.REFUSE
    built = [new.build() for new in plan.changes.create[:4]]
    wire = derive_status(submitted, seen, plan, now=NOW).to_wire()
    STATUS.validate(json.loads(json.dumps(wire, allow_nan=False)))
    return json.dumps([plan.step, plan.reason, plan.message, built, wire], default=str)


@settings(max_examples=examples(0.05))
@given(st.sampled_from(STARTS), CHANGES, st.integers(0, 2))
@saved("jobs")
def test_any_job_is_refused_by_name_or_planned(
    start: tuple[str, int], changes: list[tuple[str, Any]], number: int
) -> None:
    to_save("jobs", start, changes, number)
    body = changed(start, changes)
    before = copy.deepcopy(body)
    found = outcome(body, number)
    assert repr(body) == repr(before)
    assert outcome(before, number) == found
