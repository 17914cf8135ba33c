"""What every strategy has to be, whichever there are."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest
from support.jobs import job

import ftjob.strategies
from ftjob.api.defaults import processes_per_worker, roles_of, success_of
from ftjob.api.job import parse_job
from ftjob.api.validate import validate
from ftjob.models.spec import JobSpec, Roles, SuccessPolicy
from ftjob.strategies import STRATEGIES
from ftjob.strategies.base import Strategy

EXAMPLES = {
    f"{strategy.name}, example {number}": (strategy, example)
    for strategy in STRATEGIES.values()
    for number, example in enumerate(strategy.examples)
}


def body_of(strategy: Strategy, example: Any) -> dict[str, Any]:
    body = job()
    body["spec"] = {"strategy": strategy.name, "template": body["spec"]["template"], **example}
    return body


def test_every_strategy_is_registered() -> None:
    found = set()
    for module in pkgutil.iter_modules(ftjob.strategies.__path__, "ftjob.strategies."):
        for _, value in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(value, Strategy) and not inspect.isabstract(value):
                found.add(value)
    assert {type(strategy) for strategy in STRATEGIES.values()} == found
    assert {strategy.name for strategy in STRATEGIES.values()} == set(STRATEGIES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_good_jobs(name: str) -> None:
    assert validate(parse_job(body_of(*EXAMPLES[name]))) == ()


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda strategy: strategy.name)
def test_what_a_strategy_says_fits_together(strategy: Strategy) -> None:
    assert set(strategy.roles) <= set(Roles.model_fields)
    if strategy.success is SuccessPolicy.CHIEF:
        assert "chief" in strategy.roles
    if not strategy.others_end:
        assert strategy.success is not SuccessPolicy.ALL_WORKERS


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda strategy: strategy.name)
def test_what_a_spec_leaves_out_its_strategy_says(strategy: Strategy) -> None:
    spec = JobSpec.model_validate(body_of(strategy, strategy.examples[0])["spec"])
    wanted = {"worker": strategy.default_workers(spec), **strategy.roles}
    assert roles_of(spec) == {role: pods for role, pods in wanted.items() if pods}
    assert processes_per_worker(spec) == 1
    assert success_of(spec) is strategy.success
