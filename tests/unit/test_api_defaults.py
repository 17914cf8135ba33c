"""What a spec means where it says nothing."""

from typing import Any

import pytest

from ftjob.api.defaults import processes_per_worker, success_of, trainer_of, workers_of
from ftjob.api.spec import JobSpec, SuccessPolicy


def spec(strategy: str = "Horovod", **fields: Any) -> JobSpec:
    limits = fields.pop("limits", {})
    container = {"name": "trainer", "command": ["x"], "resources": {"limits": limits}}
    body = {"strategy": strategy, "template": {"spec": {"containers": [container]}}, **fields}
    return JobSpec.model_validate(body)


@pytest.mark.parametrize(
    ("containers", "name"),
    [
        ([{"name": "only"}], "only"),
        ([{"name": "sidecar"}, {"name": "trainer"}], "trainer"),
        ([{"name": "a"}, {"name": "b"}], None),
        ([], None),
    ],
)
def test_trainer(containers: list[dict[str, Any]], name: str | None) -> None:
    found = trainer_of(spec(template={"spec": {"containers": containers}}))
    assert found.get("name") == name


def test_one_worker() -> None:
    assert workers_of(spec()) == 1
    assert workers_of(spec(workers=3)) == 3


@pytest.mark.parametrize(
    ("given", "processes"),
    [
        (spec(), 1),
        (spec(limits={"nvidia.com/gpu": 4}), 4),
        (spec(limits={"nvidia.com/gpu": "4"}), 4),
        (spec(limits={"amd.com/gpu": 2, "cpu": 8}), 2),
        (spec(limits={"nvidia.com/mig-1g.5gb": 3}), 3),
        (spec(limits={"nvidia.com/gpu": 4}, processesPerWorker=2), 2),
        (spec(limits={"nvidia.com/gpu": "many"}), 1),
        (spec("Mirrored", limits={"nvidia.com/gpu": 4}), 1),
        (spec("JAX", limits={"nvidia.com/gpu": 4}), 1),
        (spec("Plain"), 1),
    ],
)
def test_a_process_for_each_gpu(given: JobSpec, processes: int) -> None:
    assert processes_per_worker(given) == processes


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        (spec("Horovod"), SuccessPolicy.ALL_WORKERS),
        (spec("Mirrored"), SuccessPolicy.ALL_WORKERS),
        (spec("Plain"), SuccessPolicy.ALL_WORKERS),
        (spec("Plain", success="Worker0"), SuccessPolicy.WORKER_0),
        (spec("ParameterServer"), SuccessPolicy.CHIEF),
    ],
)
def test_who_decides_on_success(given: JobSpec, policy: SuccessPolicy) -> None:
    assert success_of(given) is policy
