"""What is said of pods that run, or do not yet: in Kubernetes' own words, condensed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.api.status import ConditionType

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.observed import Observed, PodState

MESSAGE_MAX = 300
NO_STEPS = "NoStepsSeen"
"""Reason of the condition Running while a watchdog has nothing to go by."""


def why_not_running(pods: tuple[PodState, ...]) -> tuple[str, str]:
    """Condense what keeps the pods from running into one reason and one sentence."""
    waiting = [pod for pod in pods if pod.waiting]
    if not waiting:
        return "Starting", "the workers are starting"
    first = waiting[0]
    assert first.waiting is not None
    reason, _, text = first.waiting.partition(": ")
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    return reason or "Waiting", f"pod {first.name}{more}: {text or reason}"[:MESSAGE_MAX]


def who_runs(job: Job, observed: Observed) -> tuple[str, str]:
    """Return who runs, and what a watchdog has to say about it."""
    reason, text = "AllWorkersRunning", "all workers run"
    if job.spec is not None and job.spec.elastic is not None:
        least, most = job.spec.elastic.min_workers, job.spec.elastic.max_workers
        reason, text = "EnoughWorkersRunning", f"workers run, from {least} to {most} as they come and go"
    report = observed.report
    if report is None:  # a restarted operator has not been told yet
        old = next((c for c in job.status.conditions if c.type is ConditionType.RUNNING), None)
        return (old.reason, old.message) if old is not None and old.reason == NO_STEPS else (reason, text)
    if report.attempt == job.status.attempt and report.watchdog:
        return NO_STEPS, f"{text}; {report.watchdog}"[:MESSAGE_MAX]
    return reason, text
