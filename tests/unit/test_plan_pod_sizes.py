"""Pods stay small, however many there are: what all have in common is told once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.builders import CONFIG, JobBuilder, job

from ftjob.api.validate import validate
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.strategies import STRATEGIES
from ftjob.strategies.tf_config import TASKS_MAX

POD_MAX = 8 * 1024
VARIABLE_MAX = 64 * 1024
MANY = 10_000
SLICE = {"library": "JAX", "accelerator": "tpu-v5p-slice", "topology": "16x20x28", "chipsPerWorker": 4}


def large(strategy: str) -> JobBuilder:
    wanted = job("a-name-of-some-length").strategy(strategy)
    if strategy == "TPU":
        return wanted.with_spec(tpu=SLICE, workers=16 * 20 * 28 // 4)
    if strategy == "Mirrored":
        return wanted  # it has one pod
    if strategy == "MultiWorkerMirrored":
        return wanted.workers(TASKS_MAX)
    if strategy == "ParameterServer":
        return wanted.workers(TASKS_MAX - 101).roles(chief=1, ps=100, evaluator=1)
    if strategy in {"Horovod", "Torchrun", "Plain"}:
        wanted = wanted.processes(8)
    return wanted.workers(MANY)


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
