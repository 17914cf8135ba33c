"""The environment that a pod's trainer gets on this machine."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.local_run import plain_job

from ftjob.api.job import Job, parse_job
from ftjob.local.environment import Trainer, build_trainer, expand
from ftjob.local.errors import CannotRun
from ftjob.local.free_ports import free_ports
from ftjob.models.spec import trainer_of
from ftjob.plan.build.agent_config import agent_command
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.plan.plan import Config

if TYPE_CHECKING:
    from pathlib import Path


def trainer(
    caller: dict[str, str] | None = None, python: str = "/venv/bin/python", **container: Any
) -> Trainer:
    body = plain_job("", **container)
    job = parse_job(body)
    assert isinstance(job, Job)
    assert job.spec is not None, job.problems
    layout = cluster_layout(job, 0)
    return build_trainer(
        build_pod(job, layout, layout.leader, Config()),
        trainer_of(job.spec),
        node="laptop",
        outputs="/home/me/out",
        python=python,
        caller=caller or {},
        command=agent_command(job, layout, layout.leader, Config()).command,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)/x", "1/x"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(B)", "$(B)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$(A.B-C)", "2"),
        ("", ""),
    ],
)
def test_references_are_filled_in_as_the_kubelet_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "A.B-C": "2"}) == expected


def test_variables_see_only_those_before_them() -> None:
    env = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "b"}, {"name": "C", "value": "$(B)"}]
    made = trainer(env=env).env
    assert (made["A"], made["C"]) == ("$(B)", "b")


def test_the_callers_environment_stands_for_the_images() -> None:
    caller = {"HOME": "/home/me", "WORLD_SIZE": "8", "FTJOB_TOKEN_FILE": "x", "LEVEL": "mine"}
    made = trainer(caller, env=[{"name": "LEVEL", "value": "pod"}]).env
    assert made["HOME"] == "/home/me"
    assert made["LEVEL"] == "pod"
    assert not {"WORLD_SIZE", "FTJOB_TOKEN_FILE"} & made.keys()


def test_programs_beside_the_interpreter_are_found() -> None:
    assert trainer({"PATH": "/usr/bin"}).env["PATH"] == f"/venv/bin{os.pathsep}/usr/bin"
    assert trainer({"PATH": "/usr/bin:/venv/bin"}).env["PATH"] == "/usr/bin:/venv/bin"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["python3", "train.py"], "/venv/bin/python"),
        (["python", "train.py"], "/venv/bin/python"),
        (["/usr/bin/python3", "train.py"], "/usr/bin/python3"),
        (["sh", "-c", "python3 train.py"], "sh"),
    ],
)
def test_only_a_bare_python_is_replaced(command: list[str], expected: str) -> None:
    assert trainer(command=command, args=[]).command == (expected, *command[1:])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "job-worker-0-0"),
        ({"fieldRef": {"fieldPath": "metadata.namespace"}}, "default"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "laptop"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "127.0.0.1"),
        ({"fieldRef": {"fieldPath": "status.hostIP"}}, "127.0.0.1"),
        ({"fieldRef": {"fieldPath": "metadata.labels['ftjob.dev/strategy']"}}, "Plain"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['none']"}}, ""),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "2"),
        ({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}, "1500"),
        ({"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}, "2048"),
    ],
)
def test_value_from_the_pod(source: dict[str, Any], expected: str) -> None:
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": "2Gi"}}
    made = trainer(env=[{"name": "X", "valueFrom": source}], resources=resources)
    assert made.env["X"] == expected


def test_limits_that_are_not_set_are_the_machines() -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu"}}
    assert trainer(env=[{"name": "X", "valueFrom": source}]).env["X"] == str(len(os.sched_getaffinity(0)))


def test_a_divisor_that_is_no_quantity_is_refused() -> None:
    source = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1e3m"}}
    with pytest.raises(CannotRun, match=r"env\[X\]: '1e3m' is not a quantity; write it as Kubernetes does"):
        trainer(env=[{"name": "X", "valueFrom": source}])


@pytest.mark.parametrize("kind", ["secretKeyRef", "configMapKeyRef"])
def test_values_of_the_cluster_come_from_the_caller(kind: str) -> None:
    env = [{"name": "X", "valueFrom": {kind: {"name": "n", "key": "k"}}}]
    assert trainer({"X": "mine"}, env=env).env["X"] == "mine"
    with pytest.raises(
        CannotRun, match=r"containers\[trainer\]\.env\[X\].*key 'k'.*; set X in the environment"
    ):
        trainer(env=env)


def test_optional_values_may_be_missing() -> None:
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k", "optional": True}}}]
    assert "X" not in trainer(env=env).env


def test_field_that_no_pod_has_is_refused() -> None:
    with pytest.raises(CannotRun, match=r"fieldPath 'spec\.colour' is not one that a pod has"):
        trainer(env=[{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.colour"}}}])


def test_what_differs_from_the_cluster_is_noted() -> None:
    made = trainer(
        envFrom=[{"secretRef": {"name": "keys"}}],
        args=["--out=/ftjob/outputs/model"],
        volumeMounts=[{"name": "here", "mountPath": "/"}, {"name": "data", "mountPath": "/none/data"}],
    )
    assert [note.split(":")[0] for note in made.notes] == [
        "spec.template.spec.containers[trainer].envFrom[keys] is in the cluster",
        "spec.template.spec.containers[trainer].volumeMounts[data]",
        "spec.template.spec.containers[trainer]",
    ]
    assert "write $(FTJOB_OUTPUTS) instead" in made.notes[-1]


def test_outputs_in_arguments(tmp_path: Path) -> None:
    made = trainer(args=["--out=$(FTJOB_OUTPUTS)", "$(FTJOB_CHECKPOINT_DIR)"], workingDir=str(tmp_path))
    assert made.command[2:] == ("--out=/home/me/out", "/home/me/out/checkpoints")
    assert made.folder == tmp_path
    assert made.notes == ()


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))
