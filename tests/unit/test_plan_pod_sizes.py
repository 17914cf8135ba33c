"""Pods stay small, however many there are: what all have in common is told once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.builders import CONFIG, JobBuilder
from support.large import large

from ftjob.api.validate import validate
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.strategies import STRATEGIES
from ftjob.strategies.tf_config import TASKS_MAX

POD_MAX = 8 * 1024
VARIABLE_MAX = 64 * 1024


def pods(wanted: JobBuilder) -> list[dict[str, Any]]:
    built = wanted.build()
    assert not validate(built)
    layout = cluster_layout(built, 0)
    return [build_pod(built, layout, worker, CONFIG) for worker in (layout.workers[0], layout.workers[-1])]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_a_huge_job_no_pod_is_large(strategy: str) -> None:
    for pod in pods(large(strategy)):
        assert len(json.dumps(pod, separators=(",", ":"))) <= POD_MAX
        (trainer,) = pod["spec"]["containers"]
        assert max(len(item.get("value", "")) for item in trainer["env"]) <= VARIABLE_MAX


def test_more_tasks_than_tf_config_can_list_are_refused_with_the_number_that_fits() -> None:
    assert TASKS_MAX > 5000
    one_more = large("MultiWorkerMirrored").workers(TASKS_MAX + 1).build()
    (problem,) = validate(one_more)
    assert str(TASKS_MAX) in str(problem)
    (problem,) = validate(large("ParameterServer").workers(TASKS_MAX - 100).build())
    assert problem.field == "spec.workers"
