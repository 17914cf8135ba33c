"""Every job that converts is one that the API server takes, with the CRD's rules and strict checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.jobs import JOBS
from support.upstream import NEEDS_EXAMPLES, outcomes

if TYPE_CHECKING:
    from support.apiserver import Client

pytestmark = NEEDS_EXAMPLES

PRIVILEGED = "privileged: Forbidden: disallowed by cluster policy"
"""A server that is started without ``--allow-privileged`` says so of one job, as it would of the old one."""


def test_api_server_takes_all_converted_jobs(client: Client) -> None:
    refused = []
    taken = 0
    for one in outcomes():
        if one.converted is None:
            continue
        job = one.converted.job
        body = {**job, "metadata": {**job["metadata"], "namespace": "default"}}
        answer = client.send("POST", JOBS, body, dryRun="All", fieldValidation="Strict")
        pod = {**job["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {**pod.get("metadata", {}), "name": "any"}
        pod["spec"] = {"restartPolicy": "Never", **pod["spec"]}
        pods = "/api/v1/namespaces/default/pods"
        created = client.send("POST", pods, pod, dryRun="All", fieldValidation="Strict")
        refused += [f"{one.file}: {said.message}" for said in (answer, created) if said.code != 201]
        for beside in one.converted.beside:
            path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
            body = {**beside, "metadata": {"name": "any", "namespace": "default"}}
            said = client.send("POST", path, body, dryRun="All", fieldValidation="Strict")
            refused += [f"{one.file}: {said.message}"] if said.code != 201 else []
        taken += 1
    refused = [message for message in refused if PRIVILEGED not in message]
    assert not refused, "\n".join(refused)
    assert taken >= 44
