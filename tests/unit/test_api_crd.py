"""The CRD as data: what Kubernetes demands of a schema, and that the committed file is the generated one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftjob.api.crd import build_crd, render_crd
from ftjob.models.schema import structural
from ftjob.models.spec import JobSpec
from ftjob.models.status import JobStatus

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "additionalProperties",
    "anyOf",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}

Schema = dict[str, Any]


def version() -> dict[str, Any]:
    found: dict[str, Any] = build_crd()["spec"]["versions"][0]
    return found


def nodes(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


NODES = list(nodes(version()["schema"]["openAPIV3Schema"]))


def test_committed_file_is_the_generated_one() -> None:
    committed = (ROOT / "manifests" / "crd" / "ftjob.dev_frameworktrainingjobs.yaml").read_text(
        encoding="utf-8"
    )
    assert committed == render_crd(), "run `make generate`"


def test_yaml_reads_back_as_the_data() -> None:
    assert yaml.safe_load(render_crd()) == build_crd()


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path or "root" for path, _ in NODES])
def test_schema_is_structural(path: str, node: Schema) -> None:
    assert set(node) <= ALLOWED
    assert "type" in node or node.get("x-kubernetes-int-or-string")
    assert not {"properties", "additionalProperties"} <= set(node)
    assert ("items" in node) == (node.get("type") == "array")
    assert set(node.get("required", [])) <= set(node.get("properties", {}))
    for key in node.get("x-kubernetes-list-map-keys", []):
        assert key in node["items"]["required"]


@pytest.mark.parametrize(
    ("path", "node"),
    [(path, node) for path, node in NODES if path and not path.endswith("[]")],
)
def test_every_field_is_described(path: str, node: Schema) -> None:
    if not path.startswith(".metadata"):  # Kubernetes' own
        assert node["description"].endswith((".", "…"))


def test_rules_bound_what_they_walk() -> None:
    for path, node in NODES:
        if node.get("type") == "array" and path.startswith(".spec.") and not path.endswith(".command"):
            assert "maxItems" in node, path


def test_every_rule_says_what_to_write_instead() -> None:
    rules = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 50
    for rule in rules:
        assert "; " in rule["message"] or rule["message"].startswith("write "), rule
        assert "\n" not in rule["message"]


def test_lists_with_keys_merge_by_them() -> None:
    key = "x-kubernetes-list-map-keys"
    assert {path: node[key] for path, node in NODES if key in node} == {
        ".status.conditions": ["type"],
        ".status.roles": ["name"],
        ".status.profile.captures": ["id"],
        ".status.profile.stragglers": ["rank"],
    }


def test_columns_and_selectors_read_fields_that_exist() -> None:
    declared = {path.replace("[]", "[0]") for path, _ in NODES} | {".metadata.creationTimestamp"}
    for column in version()["additionalPrinterColumns"]:
        assert column["jsonPath"] in declared
    for field in version()["selectableFields"]:
        assert field["jsonPath"] in declared


def test_template_keeps_what_it_does_not_declare() -> None:
    template = structural(JobSpec)["properties"]["template"]
    containers = template["properties"]["spec"]["properties"]["containers"]
    for node in (template, template["properties"]["spec"], containers["items"]):
        assert node["x-kubernetes-preserve-unknown-fields"] is True


def test_defaults_are_told_and_not_set() -> None:
    backoff = structural(JobSpec)["properties"]["restart"]["properties"]["backoffSeconds"]
    assert "default" not in backoff
    assert backoff["description"].endswith("Default: 5.")


def test_status_that_the_operator_writes_fits_the_schema() -> None:
    written = JobStatus(attempt=1).to_wire()
    assert set(written) <= set(structural(JobStatus)["properties"])
