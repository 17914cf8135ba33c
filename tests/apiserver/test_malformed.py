"""Every malformed job is refused, by whoever can see the mistake, in words that help to correct it.

Unknown fields outside the pod template are Kubernetes' affair: a client that asks for strict checks, as
kubectl does, is refused; for one that does not, the API server drops them, and what it stores and what ftjob
reads never had them.
"""

from typing import Any

import pytest
from support.apiserver import Answer, Client
from support.jobs import JOBS, job
from support.malformed import Found, Malformed, cases

from ftjob.api.job import parse_job
from ftjob.api.validate import validate

CASES = cases()

REMEDIES = (
    "; ",  # our own messages: what is wrong; what to write instead
    ": write ",
    "must ",
    "should ",
    "may not ",
    "supported values:",
    "Required value",
    "unknown field",
    "Too many",
    "cannot unmarshal",
    "cannot convert int64 to string",
    "Not found",
    "Duplicate value",
    "invalid character",
)
"""How messages, the API server's own included, say what is expected."""


def refusal(answer: Answer, client: Client, *, field_validation: str) -> str:
    """Return how the job ends as the operator would have it: the first refusal; empty if there is none."""
    if answer.code != 201:
        assert answer.code in {400, 422}, answer
        return answer.message
    problems = validate(parse_job(answer.body))
    if problems:
        return "\n".join(str(problem) for problem in problems)
    template: dict[str, Any] = answer.body["spec"]["template"]
    pod = {**template, "apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] = {**template.get("metadata", {}), "name": "digits-worker-0-0"}
    pod["spec"] = {"restartPolicy": "Never", **template["spec"]}
    created = client.send(
        "POST", "/api/v1/namespaces/default/pods", pod, dryRun="All", fieldValidation=field_validation
    )
    return "" if created.code == 201 else created.message


def test_there_are_enough() -> None:
    assert len(CASES) >= 300


def test_good_job_is_not_refused(client: Client) -> None:
    answer = client.send("POST", JOBS, job(), dryRun="All", fieldValidation="Strict")
    assert refusal(answer, client, field_validation="Strict") == ""


@pytest.mark.parametrize("field_validation", ["Strict", "Ignore"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_is_refused(client: Client, case: Malformed, field_validation: str) -> None:
    answer = client.send("POST", JOBS, case.body, dryRun="All", fieldValidation=field_validation)
    if case.found is Found.UNKNOWN and field_validation == "Ignore":
        # Dropped without a word; the field that it stood in may still be refused for what else it says.
        section = ".".join(case.field.split(".")[:2])
        assert section in answer.message or (answer.code == 201 and not knows(answer.body, case.field))
        return
    message = refusal(answer, client, field_validation="Strict")
    expected = "invalid character" if case.not_json else case.field
    assert expected in message, message
    assert any(remedy in message for remedy in REMEDIES), message


def knows(body: Any, path: str) -> bool:
    """Whether there is something at a path."""
    for part in path.split("."):
        if not isinstance(body, dict) or part not in body:
            return False
        body = body[part]
    return True
