"""The rules on the API server itself: a good job of each strategy is let in, and every rule in CEL refuses.

The other tests of malformed jobs are content with our own checks, which catch what CEL has missed.
"""

import json
from typing import Any

import pytest
from support.apiserver import Client
from support.builders import CONFIG, JobBuilder
from support.builders import job as built
from support.jobs import JOBS
from support.large import large
from support.malformed import cases

from ftjob.api.job import Job, parse_job
from ftjob.api.rules.rule import Rule
from ftjob.api.validate import RULES, validate
from ftjob.models.names import API_VERSION, KIND
from ftjob.plan.build.pod import build_pod
from ftjob.plan.layout import cluster_layout
from ftjob.strategies import STRATEGIES

V5E = {"accelerator": "tpu-v5-lite-podslice", "topology": "2x4", "chipsPerWorker": 4}
TPU = built().strategy("TPU").with_spec(workers=None)
OWN = {"template": built().env(NCCL_DEBUG="INFO").spec["template"]}

GOOD = {
    **{
        f"{strategy.name}, example {number}": built()
        .strategy(strategy.name)
        .with_spec(workers=None, processesPerWorker=None, **example)
        for strategy in STRATEGIES.values()
        for number, example in enumerate(strategy.examples)
    },
    "Horovod": built().strategy("Horovod").workers(2).processes(2),
    "MultiWorkerMirrored": built().strategy("MultiWorkerMirrored").workers(3),
    "Torchrun": built().strategy("Torchrun").workers(2).limits(gpu=4),
    "JAX": built().strategy("JAX").processes(2),
    "Plain": built().success("Worker0"),
    "parameter servers": built().strategy("ParameterServer").workers(2),
    "parameter servers with all roles": built()
    .strategy("ParameterServer")
    .success("Chief")
    .roles(chief=OWN, ps={"replicas": 2, **OWN}, evaluator=1),
    "parameter servers without a chief": built().strategy("ParameterServer").roles(chief=0),
    "TPU": TPU.with_spec(tpu={"library": "JAX", **V5E}),
    "TPU with its hosts counted": TPU.with_spec(tpu={"library": "JAX", **V5E}, workers=2),
    "TPU slices": TPU.with_spec(tpu={"library": "TorchXLA", **V5E, "slices": 3}, workers=6),
    "TPU in three dimensions": TPU.with_spec(tpu={"library": "JAX", **V5E, "topology": "4x4x8"}, workers=32),
}

BROKEN = [(case, job.spec) for case in cases() if isinstance(job := parse_job(case.body), Job)]


@pytest.mark.parametrize("name", GOOD)
def test_good_job_is_let_in(client: Client, name: str) -> None:
    answer = client.send("POST", JOBS, body(GOOD[name]), dryRun="All", fieldValidation="Strict")
    assert answer.code == 201, answer.message
    assert validate(parse_job(answer.body)) == ()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ten_thousand_workers_are_let_in_and_the_first_and_the_last_of_their_pods(
    client: Client, strategy: str
) -> None:
    answer = client.send("POST", JOBS, body(large(strategy)), dryRun="All", fieldValidation="Strict")
    assert answer.code == 201, answer.message
    wanted = parse_job(answer.body)
    assert isinstance(wanted, Job)
    layout = cluster_layout(wanted, 0)
    for worker in (layout.workers[0], layout.workers[-1]):
        pod = build_pod(wanted, layout, worker, CONFIG)
        path = f"/api/v1/namespaces/{wanted.namespace}/pods"
        created = client.send("POST", path, pod, dryRun="All", fieldValidation="Strict")
        assert created.code == 201, created.message
        assert len(json.dumps(created.body)) < 12 * 1024  # with what the API server adds


def body(wanted: JobBuilder) -> dict[str, Any]:
    spec = {key: value for key, value in wanted.spec.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": wanted.name}, "spec": spec}


def test_every_rule_in_cel_refuses(client: Client) -> None:
    silent = [rule.field + ": " + rule.message for rule in RULES if rule.cel and not is_refused(client, rule)]
    assert silent == []


def is_refused(client: Client, rule: Rule) -> bool:
    """Whether the API server says the rule's own words about a job that breaks it."""
    case = next(case for case, spec in BROKEN if rule.broken(spec))
    answer = client.send("POST", JOBS, case.body, dryRun="All")
    return answer.code == 422 and f"{rule.field}: " in answer.message and rule.message in answer.message
