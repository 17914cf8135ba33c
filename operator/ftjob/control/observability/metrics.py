"""The operator's metrics.

No label holds a job's name, since the number of series would grow without end, but for one metric: that of
why jobs are slow has three series of a job at most while it runs, and `FINDINGS` in all.
"""

from __future__ import annotations

from collections import Counter as Tally
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ftjob.models.status import Part, Phase
from ftjob_protocol.vitals.verdict import FINDINGS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ftjob.api.job import AnyJob, JobHead
    from ftjob.control.cache.cache import Cache
    from ftjob.control.queue import Queue
    from ftjob.models.status import JobStatus, Timeline

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time series for each, of no use here

FINDINGS = 3_000
"""Series of findings at most: those of the jobs that come first by name."""

LIFE = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ftjob_api_requests",
            "Requests to the API server; code 0 means no answer.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "ftjob_reconcile_seconds",
            "Time of one look at a job, its requests included.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
            registry=self.registry,
        )
        self.loop_lag_seconds = Histogram(
            "ftjob_loop_lag_seconds",
            "By how much later than it should a short pause ends: how long the event loop is held.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.errors = Counter(
            "ftjob_reconcile_errors", "Looks that ended in an error.", registry=self.registry
        )
        self.finished = Counter(
            "ftjob_jobs_finished", "Jobs that have ended, by how.", ["phase"], registry=self.registry
        )
        self.attempts = Counter("ftjob_attempts", "Attempts that were started.", registry=self.registry)
        self.restarts = Counter("ftjob_restarts", "Restarts by cause.", ["cause"], registry=self.registry)
        self.lost_seconds = Counter(
            "ftjob_restart_lost_seconds",
            "Time from failures until all workers ran again.",
            registry=self.registry,
        )
        self.job_seconds = Counter(
            "ftjob_job_seconds",
            "Where the time of jobs went, from creation to end; counted when a part of it is over.",
            ["part"],
            registry=self.registry,
        )
        self.pods_created = Counter("ftjob_pods_created", "Pods that were created.", registry=self.registry)
        self.created_to_pods = Histogram(
            "ftjob_job_to_pods_seconds",
            "From the job's creation until all its pods are created.",
            buckets=LIFE,
            registry=self.registry,
        )
        self.created_to_running = Histogram(
            "ftjob_job_to_running_seconds",
            "From the job's creation until all workers run.",
            buckets=LIFE,
            registry=self.registry,
        )
        self.holds_lease = Gauge(
            "ftjob_leader", "1 while this operator is the leader.", registry=self.registry
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # A series that begins with its first event has no increase then, which is what alerts look at.
        for phase in Phase:
            if phase.is_final:
                self.finished.labels(phase.value)
        for cause in ("failure", "disruption"):
            self.restarts.labels(cause)
        for part in Part:
            self.job_seconds.labels(part.value)

    def watch(self, cache: Cache, queue: Queue) -> None:
        """Report what the cache and the queue hold at the time of each scrape."""
        self.registry.register(_State(cache, queue))

    def request(self, verb: str, resource: str, code: int) -> None:
        """Count a request."""
        self.requests.labels(verb, resource, str(code)).inc()

    def pods_accepted(self, job: AnyJob, count: int, now: float) -> None:
        """Count new pods; with a job's first ones ends the time from its creation to its pods."""
        self.pods_created.inc(count)
        if job.status.start_time is None:
            self.created_to_pods.observe(max(0.0, now - _unix(job.created, now)))

    def status_written(self, job: AnyJob, status: JobStatus, now: float) -> None:
        """Count what a job's new status says."""
        old = job.status
        if (old.start_time is None and status.start_time) or status.attempt > old.attempt:
            self.attempts.inc()
        if status.phase is not None and status.phase.is_final and status.phase is not old.phase:
            self.finished.labels(status.phase.value).inc()
        self.restarts.labels("failure").inc(max(0, status.restarts.failures - old.restarts.failures))
        self.restarts.labels("disruption").inc(max(0, status.restarts.disruptions - old.restarts.disruptions))
        lost = (status.restarts.lost_seconds or 0) - (old.restarts.lost_seconds or 0)
        self.lost_seconds.inc(max(0, lost))
        for part, seconds in spent(old.timeline, status.timeline):
            self.job_seconds.labels(part.value).inc(seconds)
        if old.running_time is None and status.running_time is not None:
            self.created_to_running.observe(max(0.0, now - _unix(job.created, now)))

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def spent(old: Timeline | None, new: Timeline | None) -> Iterator[tuple[Part, int]]:
    """Yield the seconds that a job's new status counts in each part."""
    for part in Part if new is not None else ():
        seconds = new.seconds(part) - (old.seconds(part) if old is not None else 0) if new is not None else 0
        if seconds > 0:
            yield part, seconds


class _State(Collector):
    """Gauges that are read from the cache and the queue at each scrape."""

    def __init__(self, cache: Cache, queue: Queue) -> None:
        self._cache = cache
        self._queue = queue

    def collect(self) -> Iterator[GaugeMetricFamily]:
        understood = (job for job in self._cache.jobs() if job.is_ours and job.status_problem is None)
        phases = Tally(job.status.phase or Phase.PENDING for job in understood)
        jobs = GaugeMetricFamily("ftjob_jobs", "Jobs by phase.", labels=["phase"])
        for phase in Phase:
            jobs.add_metric([phase.value], phases.get(phase, 0))
        yield jobs
        yield GaugeMetricFamily("ftjob_queue_depth", "Jobs that wait for a worker.", value=self._queue.depth)
        yield GaugeMetricFamily(
            "ftjob_queue_age_seconds",
            "How long the oldest of them has waited.",
            value=self._queue.oldest_age(),
        )
        yield _findings(job for job in self._cache.jobs() if job.is_ours and job.status_problem is None)


def _findings(jobs: Iterable[JobHead]) -> GaugeMetricFamily:
    """Return what the jobs that run lose time by; a job's series go when it ends or is deleted."""
    shares = GaugeMetricFamily(
        "ftjob_job_finding_share",
        "Share of its steps' time that a running job loses by what its verdict names, 0 to 1.",
        labels=["namespace", "job", "kind"],
    )
    found: dict[tuple[str, str, str], float] = {}
    for job in jobs:
        profile, phase = job.status.profile, job.status.phase
        if profile is not None and phase is not None and not phase.is_final:
            for finding in profile.findings[:FINDINGS_MAX]:
                series = (job.namespace, job.name, finding.kind)
                found[series] = max(found.get(series, 0.0), finding.cost_share)
    for labels in sorted(found)[:FINDINGS]:
        shares.add_metric(labels, found[labels])
    return shares


def _unix(text: str, default: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default
