"""What is counted when a job's status is written."""

from dataclasses import replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from support.control_fake import job_body

from ftjob.api.job import Job, parse_job
from ftjob.control.observability.metrics import FINDINGS, Metrics

CREATED = "2026-01-01T00:00:00Z"
STARTED = {"phase": "Starting", "startTime": "2026-01-01T00:00:01Z", "attempt": 0}
RUNNING = STARTED | {"phase": "Running", "runningTime": "2026-01-01T00:00:04Z"}
RUNNING_AT = 1767225604.0


def job(status: dict[str, Any]) -> Job:
    body = job_body(status=status)
    body["metadata"]["creationTimestamp"] = CREATED
    found = parse_job(body)
    assert isinstance(found, Job)
    return found


def counted(*statuses: dict[str, Any]) -> dict[str, float]:
    """Return what the metrics say when a job has gone through these statuses."""
    metrics = Metrics()
    for old, new in zip(({}, *statuses), statuses, strict=False):
        metrics.status_written(job(old), job(new).status, RUNNING_AT)
    text = metrics.text().decode()
    return {
        " ".join([sample.name, *(v for key, v in sample.labels.items() if key != "le")]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_jobs_end_is_counted_once_by_how() -> None:
    failed = RUNNING | {"phase": "Failed"}
    values = counted(STARTED, RUNNING, failed, failed | {"activeSeconds": 9})
    assert values["ftjob_jobs_finished_total Failed"] == 1
    assert values["ftjob_jobs_finished_total Succeeded"] == 0


def test_the_series_of_ends_and_restarts_are_there_before_the_first() -> None:
    values = counted()
    assert {name: value for name, value in values.items() if "finished" in name or "restarts" in name} == {
        "ftjob_jobs_finished_total Failed": 0,
        "ftjob_jobs_finished_total Succeeded": 0,
        "ftjob_restarts_total disruption": 0,
        "ftjob_restarts_total failure": 0,
    }


def test_attempts_restarts_and_the_time_until_all_workers_run_are_counted() -> None:
    lost = {"failures": 1, "disruptions": 1, "lostSeconds": 7}
    values = counted(STARTED, RUNNING, RUNNING | {"attempt": 1, "restarts": lost})
    assert values["ftjob_attempts_total"] == 2
    assert values["ftjob_restarts_total failure"] == values["ftjob_restarts_total disruption"] == 1
    assert values["ftjob_restart_lost_seconds_total"] == 7
    assert values["ftjob_job_to_running_seconds_count"] == 1
    assert values["ftjob_job_to_running_seconds_sum"] == 4


class Jobs:
    """A cache that has these jobs, and a queue that has none."""

    depth, oldest = 0, 0.0

    def __init__(self, *jobs: Job) -> None:
        self._jobs = jobs

    def jobs(self) -> tuple[Job, ...]:
        return self._jobs

    def oldest_age(self) -> float:
        return self.oldest


def shares(*jobs: Job) -> dict[tuple[str, str, str], float]:
    metrics, cache = Metrics(), Jobs(*jobs)
    metrics.watch(cache, cache)  # type: ignore[arg-type]
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.labels["namespace"], sample.labels["job"], sample.labels["kind"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "ftjob_job_finding_share"
    }


def slow(name: str, *kinds: str, phase: str = "Running") -> Job:
    findings = [{"kind": kind, "costShare": 0.25 + place / 100} for place, kind in enumerate(kinds)]
    found = job(RUNNING | {"phase": phase, "profile": {"verdict": "slow", "findings": findings}})
    return replace(found, name=name)


def test_a_slow_job_has_a_series_for_each_kind_of_finding_while_it_runs() -> None:
    assert shares(
        slow("a", "Straggler", "InputBound"), slow("b"), slow("c", "Pauses", phase="Succeeded")
    ) == {
        ("default", "a", "Straggler"): 0.25,
        ("default", "a", "InputBound"): 0.26,
    }


def test_the_series_of_findings_are_bounded() -> None:
    kinds = [f"Kind{letter}" for letter in "ABCDEF"]
    assert len(shares(slow("a", *kinds))) == 3
    assert len(shares(*(slow(f"job-{number}", *kinds) for number in range(1200)))) == FINDINGS
