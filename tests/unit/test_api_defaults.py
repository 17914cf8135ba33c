"""What a spec means where it says nothing."""

from typing import Any

import pytest

from ftjob.api.defaults import processes_per_worker, roles_of, success_of, workers_of, world_size_of
from ftjob.models.spec import JobSpec, SuccessPolicy, template_of, trainer_of
from ftjob.strategies.tpu import tpu_hosts


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
        (spec("Torchrun", limits={"nvidia.com/gpu": 8}), 8),
        (spec("JAX", limits={"nvidia.com/gpu": 4}, processesPerWorker=2), 2),
        (spec("TPU", limits={"google.com/tpu": 4}), 1),
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


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        (None, {"chief": 1, "worker": 2, "ps": 1}),
        ({}, {"chief": 1, "worker": 2, "ps": 1}),
        ({"ps": {}, "evaluator": {"replicas": 1}}, {"chief": 1, "worker": 2, "ps": 1, "evaluator": 1}),
        ({"chief": {"replicas": 0}, "ps": {"replicas": 3}}, {"worker": 2, "ps": 3}),
    ],
)
def test_roles_of_parameter_servers(roles: Any, found: dict[str, int]) -> None:
    given = spec("ParameterServer", workers=2, roles=roles)
    assert list(roles_of(given).items()) == list(found.items())  # in rank order
    assert world_size_of(given) == sum(found.values())


def test_other_strategies_have_workers_alone() -> None:
    assert roles_of(spec("Torchrun", workers=2)) == {"worker": 2}
    assert world_size_of(spec("Torchrun", workers=2, limits={"nvidia.com/gpu": 4})) == 8


def test_a_role_has_the_jobs_template_unless_it_has_its_own() -> None:
    own = {"spec": {"containers": [{"name": "serve", "command": ["y"]}]}}
    given = spec("ParameterServer", roles={"ps": {"template": own}, "chief": {"replicas": 1}})
    assert template_of(given, "ps") == own
    assert template_of(given, "chief") == template_of(given) == given.template
    assert trainer_of(given, "ps")["name"] == "serve"


@pytest.mark.parametrize(
    ("topology", "chips", "slices", "workers"),
    [("2x4", 8, 1, 1), ("2x4", 4, 1, 2), ("2x4", 1, 1, 8), ("4x4x4", 4, 2, 32), ("1x1", 1, 3, 3)],
)
def test_each_tpu_host_is_a_worker(topology: str, chips: int, slices: int, workers: int) -> None:
    tpu = {"library": "JAX", "topology": topology, "chipsPerWorker": chips, "slices": slices}
    assert tpu_hosts(spec("TPU", tpu=tpu)) == workers_of(spec("TPU", tpu=tpu)) == workers


def test_endpoints_are_driven_by_one_worker() -> None:
    tpu = {"library": "TensorFlow", "endpoints": ["grpc://a:8470", "grpc://b:8470"]}
    assert tpu_hosts(spec("TPU", tpu=tpu)) is None
    assert workers_of(spec("TPU", tpu=tpu)) == 1
