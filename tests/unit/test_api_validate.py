"""Our own checks, which are all that a job meets that never sees an API server."""

import copy
import datetime as dt
from typing import Any

import pytest
from support.jobs import job
from support.malformed import TRAINER, Found, Malformed, bent, cases, nested

from ftjob.api.job import Job, parse_job
from ftjob.api.validate import RULES, validate
from ftjob.models.spec import JobSpec
from ftjob.strategies import STRATEGIES

CASES = cases()
SEEN = [case for case in CASES if case.found is not Found.POD]
LEFT_TO_PODS = [case for case in CASES if case.found is Found.POD]


def said(body: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in validate(parse_job(body))]


def test_nothing_is_wrong_with_a_good_job() -> None:
    assert said(job()) == []


@pytest.mark.parametrize("case", SEEN, ids=lambda case: case.name)
def test_malformed_job_is_refused(case: Malformed) -> None:
    problems = [problem for problem in validate(parse_job(case.body)) if case.field in problem.field]
    assert problems, said(case.body)
    assert all(problem.message and problem.remedy for problem in problems)


@pytest.mark.parametrize("case", LEFT_TO_PODS, ids=lambda case: case.name)
def test_what_only_a_pod_knows_is_left_to_it(case: Malformed) -> None:
    assert said(case.body) == []


def test_every_rule_is_broken_by_some_malformed_job() -> None:
    specs = [job.spec for case in CASES if isinstance(job := parse_job(case.body), Job)]
    unbroken = [rule.message for rule in RULES if not any(rule.broken(spec) for spec in specs)]
    assert unbroken == []


MESSAGES = {
    ("spec.strategy", "horovod"): '"horovod" is not allowed; write one of ' + ", ".join(STRATEGIES),
    ("spec.workers", "2"): '"2" is not allowed; write a whole number from 1 to 10000',
    ("spec.wrokers", 2): "there is no such field; did you mean workers?",
    ("spec.suspend", 1): "1 is not allowed; write true or false",
    ("spec.profiling.ranks", "first"): '"first" is not allowed; write All, OnePerWorker, or a list of ranks '
    'such as "0,8-15"',
    (f"{TRAINER}.command", "python train.py"): '"python train.py" is not allowed; write a list',
    ("spec.outputs.path", "a/../b"): "path must stay within the volume; write a relative path without .., "
    "such as team-a/digits",
}


@pytest.mark.parametrize(("change", "text"), MESSAGES.items(), ids=str)
def test_message(change: tuple[str, Any], text: str) -> None:
    assert said(bent(*change)) == [f"{change[0]}: {text}"]


def test_an_unknown_strategy_hides_no_other_problem() -> None:
    body = bent("spec.workers", "2")
    body["spec"]["strategy"] = "horovod"
    found = [("spec.strategy", "horovod"), ("spec.workers", "2")]
    assert said(body) == [f"{field}: {MESSAGES[field, value]}" for field, value in found]


@pytest.mark.parametrize(
    ("own", "said_of_it"),
    [
        ({}, "the trainer has no command"),
        ({"command": []}, "the trainer has no command"),
        ({"args": ["train.py", "--epochs=3"]}, "the trainer has args but no command"),
    ],
    ids=["image alone", "empty", "args"],
)
def test_an_image_with_an_entrypoint_is_told_what_to_write(own: dict[str, Any], said_of_it: str) -> None:
    trainer = {"name": "trainer", "image": "registry/team:1", **own}
    (message,) = said(bent("spec.template.spec.containers", [trainer]))
    assert message == (
        f"spec.template.spec.containers: {said_of_it}; ftjob starts it once for each rank and can't see what "
        "the image registry/team:1 would run; write the program into the trainer's command, such as command: "
        "[python, train.py]; where the image has an ENTRYPOINT, write that into command, and into args what "
        "follows it, or else the image's CMD (`docker inspect` and `crane config` show both)"
    )


def test_identity_variable_is_named() -> None:
    (message,) = said(bent(f"{TRAINER}.env", [{"name": "TF_CONFIG", "value": "{}"}]))
    assert message == (
        "spec.template.spec.containers: the trainer's env sets TF_CONFIG, which tells a rank who it is "
        "and is ftjob's alone to set; remove it from env"
    )


def test_identity_of_a_sidecar_is_its_own_affair() -> None:
    body = job()
    body["spec"]["template"]["spec"]["containers"][1]["env"] = [{"name": "RANK", "value": "0"}]
    assert said(body) == []


@pytest.mark.parametrize("value", [None, 1, "text", [], {"metadata": 1}, {"spec": {"containers": None}}])
@pytest.mark.parametrize(
    "path", ["spec", "spec.template", "metadata", "status", "spec.template.spec.containers"]
)
def test_whatever_stands_there_is_no_exception(path: str, value: Any) -> None:
    body = job()
    node = body
    *above, last = path.split(".")
    for part in above:
        node = node[part]
    node[last] = value
    parsed = parse_job(body)
    problems = validate(parsed)
    assert isinstance(parsed, Job) or problems


@pytest.mark.parametrize("field", ["args", "env", "ports", "resources", "volumeMounts"])
def test_a_field_with_nothing_behind_it_is_none(field: str) -> None:
    parsed = parse_job(bent(f"spec.template.spec.containers[0].{field}", None))
    assert isinstance(parsed, Job)
    assert field not in parsed.spec.template["spec"]["containers"][0]
    assert validate(parsed) == ()


def test_another_kind_is_named() -> None:
    assert said({**job(), "kind": "Pod"}) == [
        "kind: Pod is not what this is about; write kind: FrameworkTrainingJob"
    ]


def test_dates_that_yaml_reads_are_text() -> None:
    body = bent("spec.template.metadata.annotations", {"since": dt.date(2026, 1, 1)})
    parsed = parse_job(body)
    assert isinstance(parsed, Job)
    assert parsed.spec.template["metadata"]["annotations"] == {"since": "2026-01-01"}


def test_reading_leaves_the_data_alone() -> None:
    body = job()
    before = copy.deepcopy(body)
    parse_job(body)
    assert body == before


def test_spec_survives_a_round_trip() -> None:
    parsed = parse_job(job())
    assert isinstance(parsed, Job)
    wire = parsed.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert wire == job()["spec"]
    assert JobSpec.model_validate(wire) == parsed.spec


@pytest.mark.parametrize("levels", [100, 900, 1100, 9000])
def test_a_job_of_many_levels_is_refused_by_name(levels: int) -> None:
    [problem] = said(bent(f"{TRAINER}.lifecycle", nested(levels)))
    assert problem.startswith("spec: it has more than 100 levels of nesting; ")


def test_a_job_of_many_kilobytes_is_refused_by_name() -> None:
    body = bent(f"{TRAINER}.lifecycle", [{}] * 333_000)
    [problem] = said(body)
    assert problem.startswith("spec: it is larger than 256 KiB of JSON; put large values")
