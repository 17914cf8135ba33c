"""The values: typos are refused where the chart can know better, and each value is documented."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.chart import CHART, ChartError, render

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OPEN = {"podSecurityContext", "securityContext"}  # Kubernetes' own, which grow with it


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, value


def test_the_schema_knows_every_value() -> None:
    assert SCHEMA["properties"].keys() == VALUES.keys()


def known_objects() -> list[str]:
    found = {path.rpartition(".")[0] for path, _ in leaves(VALUES)} - {""}
    return sorted(each for each in found if each.split(".")[0] not in OPEN | {"resources"})


@pytest.mark.parametrize("path", [*known_objects(), "resources", "affinity"])
def test_a_typo_in_a_known_object_is_refused_by_name(path: str) -> None:
    with pytest.raises(ChartError) as refused:
        render(f"{path}.reposiotry=x")
    assert "reposiotry" in str(refused.value)
    assert "/".join(path.split(".")) in str(refused.value).replace(".", "/")


@pytest.mark.parametrize("setting", ["global.cattle.clusterName=c", "enabled=true", "tags.extra=x"])
def test_platforms_and_umbrella_charts_may_add_to_the_root(setting: str) -> None:
    assert render(setting)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("watchNamespaces={team-a,Team_A}", "watchNamespaces"),
        ("watchNamespaces={team-a,team-a}", "watchNamespaces"),
        ("watchNamespaces=team-a", "watchNamespaces"),
        ("scope=Namespace", "list the namespaces in watchNamespaces"),  # else it would serve all
        ("watchNamespace=team-a", "list the namespaces in watchNamespaces"),
        ("rbac.clusterRole=false", "list those to serve in watchNamespaces"),
        ("replicas=two", "replicas"),
        ("replicas=2,leaderElection.enabled=false", "leaderElection.enabled=true or replicas=1"),
        ("networkPolicy=On", "'Off', 'Job'"),
        ("workers=0", "workers"),
        ("log.level=loud", "'debug', 'info', 'warning', 'error'"),
        ("log.format=xml", "'json', 'text'"),
        ("image.repository=", "repository"),
        ("image.pullPolicy=Sometimes", "'Always', 'IfNotPresent', 'Never'"),
        ("image.tag=a b", "tag"),
        ("metrics.port=80", "port"),
        ("health.port=8080", "give each a port of its own"),
        ("metrics.serviceMonitor.interval=often", "interval"),
        ("metrics.service.enabled=false,metrics.serviceMonitor.enabled=true", "metrics.service.enabled=true"),
        ("serviceAccount.create=false", "serviceAccount.name is needed"),
        ("imagePullSecrets[0].secret=x", "secret"),
        ("extraEnv[0].value=x", "name"),
        ("nodeSelector.gpu=true", "nodeSelector"),
    ],
)
def test_what_can_t_work_is_refused_with_the_remedy(settings: str, message: str) -> None:
    with pytest.raises(ChartError) as refused:
        render(settings)
    assert message in str(refused.value)


ROW = re.compile(r"^\| `(?P<key>[A-Za-z.]+)` \| `(?P<default>.+?)` \| \S")


def test_the_readme_lists_every_value_and_its_default() -> None:
    lines = (CHART / "README.md").read_text().splitlines()
    listed = {row["key"]: json.loads(row["default"]) for row in map(ROW.match, lines) if row}
    assert listed == dict(leaves(VALUES))
