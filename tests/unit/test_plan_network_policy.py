"""The NetworkPolicy of a job, where the installation asks for one: for which jobs, and when it is made."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from support.builders import UID, WITH_POLICIES, JobBuilder, decide, job, manifests, observed, pod

if TYPE_CHECKING:
    from ftjob.plan.plan import Plan

NAME = f"digits-{UID[:8]}"
SERVICE = ("Service", "digits")


def policies(plan: Plan) -> list[Any]:
    return [each for each in manifests(plan) if each["kind"] == "NetworkPolicy"]


def started(wanted: JobBuilder, *existing: tuple[str, str]) -> Plan:
    return decide(wanted, observed(existing=frozenset(existing)), config=WITH_POLICIES)


def with_host_network(template: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(template)
    changed["spec"]["hostNetwork"] = True
    return changed


def test_it_is_there_before_the_first_pod() -> None:
    kinds = [each.kind for each in started(job().workers(2)).changes.create]
    assert kinds.index("NetworkPolicy") < kinds.index("Pod")


def test_without_the_setting_there_is_none() -> None:
    plan = decide(job(), observed(existing=frozenset()))
    assert policies(plan) == []
    assert plan.changes.create


def test_one_that_is_there_is_left_alone() -> None:
    assert policies(started(job(), SERVICE, ("NetworkPolicy", NAME))) == []


def test_a_running_job_gets_the_one_that_it_lacks() -> None:
    plan = decide(job().workers(2).started(), observed(pod(0), pod(1)), config=WITH_POLICIES)
    assert [each.name for each in plan.changes.create] == [NAME]


@pytest.mark.parametrize(
    "wanted",
    [
        job().template(with_host_network(job().spec["template"])),
        job()
        .strategy("ParameterServer")
        .roles(ps={"replicas": 1, "template": with_host_network(job().spec["template"])}),
    ],
    ids=["all pods", "one role"],
)
def test_pods_in_their_node_s_network_would_be_shut_out_so_their_job_has_none(wanted: JobBuilder) -> None:
    plan = started(wanted)
    assert policies(plan) == []
    assert [each.kind for each in plan.changes.create].count("Pod") >= 1


def test_a_template_of_a_role_without_pods_does_not_count() -> None:
    role = {"replicas": 0, "template": with_host_network(job().spec["template"])}
    assert policies(started(job().strategy("ParameterServer").roles(evaluator=role)))
