"""The dashboard for Grafana: how it is installed, and that the operator serves what it asks for."""

from __future__ import annotations

import json
import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from support.chart import CHART, pick, render

from ftjob.control.cache.cache import Cache
from ftjob.control.observability.metrics import Metrics
from ftjob.control.queue import Queue

DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def served() -> dict[str, set[str]]:
    """Return the labels of each metric, by the name of its samples."""
    metrics = Metrics()
    metrics.watch(Cache(), Queue())
    metrics.request("patch", "pods", 200)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_it_is_a_config_map_that_grafanas_sidecar_finds() -> None:
    assert not [each for each in render() if each["kind"] == "ConfigMap"]
    objects = render("metrics.dashboard.enabled=true", "metrics.dashboard.labels.team=a")
    found = pick(objects, "ConfigMap", "ftjob-operator-dashboard")
    assert found["metadata"]["labels"].items() >= {"grafana_dashboard": "1", "team": "a"}.items()
    assert json.loads(found["data"]["ftjob.json"]) == DASHBOARD


def test_it_asks_only_for_metrics_and_labels_that_are_served() -> None:
    metrics = served()
    for query in QUERIES:
        [name] = re.findall(r"\bftjob_\w+", query)
        assert name in metrics, query
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
        matched = set(re.findall(r"(\w+)!?[=~]+\"", query))
        assert grouped | matched <= metrics[name], query


def test_every_metric_of_jobs_and_of_the_operator_is_shown() -> None:
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served()}
    shown = {re.sub(r"_bucket$", "", name) for query in QUERIES for name in re.findall(r"\bftjob_\w+", query)}
    assert shown == families


def test_legends_name_labels_that_the_queries_keep() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
            assert all(label in kept for label in re.findall(r"{{(\w+)}}", target["legendFormat"])), target


def test_its_panels_have_ids_of_their_own_and_do_not_cover_each_other() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [cell for panel in DASHBOARD["panels"] for cell in cells_of(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def cells_of(place: dict[str, Any]) -> list[tuple[int, int]]:
    xs, ys = (range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h")))
    return [(x, y) for x in xs for y in ys]
