"""The CRD has one source, and the installed manifests are what the chart renders."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.chart import CHART, CRD, REPO, Object, helm, objects_in, pick, render

if TYPE_CHECKING:
    from pathlib import Path

NAME = "frameworktrainingjobs.ftjob.dev"
REMEDY = "run `make generate`"


def test_the_chart_carries_the_generated_crd() -> None:
    assert (CHART / "files" / "crd.yaml").read_bytes() == CRD.read_bytes(), REMEDY


def crd(*settings: str) -> Object:
    return pick(render(*settings, crds=True), "CustomResourceDefinition", NAME)


def test_the_crd_is_rendered_as_it_was_generated() -> None:
    (generated,) = objects_in((CHART / "files" / "crd.yaml").read_text())
    assert crd()["spec"] == generated["spec"]


def test_helm_keeps_the_crd_unless_told_otherwise() -> None:
    assert crd()["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "helm.sh/resource-policy" not in crd("crds.keep=false")["metadata"].get("annotations", {})


def test_the_crd_can_be_left_out() -> None:
    assert "CustomResourceDefinition" not in {each["kind"] for each in render()}


def test_a_selector_tells_the_crd_from_the_operator() -> None:
    labels = [each["metadata"]["labels"] for each in render(crds=True)]
    assert sorted(each["app.kubernetes.io/component"] for each in labels).count("crd") == 1


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("install")
    script = REPO / "manifests" / "install" / "render.sh"
    subprocess.run([str(script), str(folder)], check=True, env={**os.environ, "HELM": helm()}, timeout=120)
    return folder


@pytest.mark.parametrize("name", ["ftjob.yaml", "ftjob-namespaced.yaml"])
def test_the_manifests_are_rendered_from_the_chart(name: str, rendered: Path) -> None:
    assert (REPO / "manifests" / "install" / name).read_text() == (rendered / name).read_text(), REMEDY


def test_the_manifests_for_one_namespace_hold_it_in_one_word(rendered: Path) -> None:
    objects = objects_in((rendered / "ftjob-namespaced.yaml").read_text())
    assert {each["metadata"].get("namespace", "ftjob-team") for each in objects} == {"ftjob-team"}
    cluster_wide = [each["kind"] for each in objects if "namespace" not in each["metadata"]]
    assert cluster_wide == ["CustomResourceDefinition"]


def test_the_manifests_for_the_cluster_bring_a_restricted_namespace(rendered: Path) -> None:
    namespace = pick(objects_in((rendered / "ftjob.yaml").read_text()), "Namespace", "ftjob-system")
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
