"""What is counted when a job's status is written."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from support.control_fake import job_body

from ftjob.api.job import Job, parse_job
from ftjob.control.observability.metrics import Metrics

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
