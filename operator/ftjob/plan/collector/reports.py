"""Which reports of a job are still to be written, by whom, and what became of them. Pure.

One collector at a time, oldest capture first; the job's own report comes after its end, if there is anything
to report. Status says what became of each before its pod goes, so that none is made twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.job import Job
from ftjob.models.status import Capture, ProfileStatus
from ftjob.plan.collector.pod import build_collector, collector_name
from ftjob.plan.observed.collector import WHOLE_JOB
from ftjob.plan.plan import ForCollector, NewObject, PodRef, soonest
from ftjob_protocol import files
from ftjob_protocol.captures.order import CapturePhase
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ftjob.api.job import AnyJob
    from ftjob.models.status import JobStatus
    from ftjob.plan.observed.collector import CollectorState
    from ftjob.plan.observed.state import Observed
    from ftjob.plan.plan import Config, Plan

START_SECONDS = 900.0
"""A collector that has not ended by then, most often since no node takes it, is given up."""
SOON_SECONDS = 1.0
"""Until what a new status says of reports is acted on: the next one is begun, a pod goes."""
REASON_BYTES = 512


def with_collectors(plan: Plan, job: AnyJob, observed: Observed, *, now: float, config: Config) -> Plan:
    """Add which collectors come and go."""
    if not isinstance(job, Job) or plan.changes.delete_job:
        return plan
    profile = job.status.profile or ProfileStatus()
    settled = {about for about, _ in _settled(profile)}
    known = {capture.id for capture in profile.captures} | {WHOLE_JOB}
    running = [found for found in observed.collectors if _end(found, now) is None]
    useless = [
        found
        for found in observed.collectors
        if found not in running and (found.about in settled or found.about not in known)
    ]
    return replace(
        plan,
        collector=ForCollector(
            create=None if running else _next(job, observed, settled, config),
            delete=tuple(PodRef(each.name, each.uid) for each in useless if each.uid and not each.deleting),
        ),
        next_look=soonest(plan.next_look, *(found.seen + START_SECONDS - now for found in running)),
    )


def look_after(before: JobStatus, after: JobStatus) -> float | None:
    """Return when to look again because a new status says something new of reports; None if it does not.

    The write of a status is no event, and with a job that makes no other one its reports would wait.
    """
    return SOON_SECONDS if _said_of_reports(after) != _said_of_reports(before) else None


def _said_of_reports(status: JobStatus) -> object:
    """Return what there is to report on, and what became of it."""
    profile = status.profile or ProfileStatus()
    is_over = status.phase is not None and status.phase.is_final
    return is_over, [each.id for each in profile.captures if _is_complete(each)], dict(_settled(profile))


def with_reports(
    profile: ProfileStatus | None, job: Job, observed: Observed, now: float
) -> ProfileStatus | None:
    """Add to a profile's status what is known of its reports."""
    if profile is None:
        return None
    known = dict(_settled(job.status.profile or ProfileStatus()))
    known |= {found.about: end for found in observed.collectors if (end := _end(found, now)) is not None}
    if not known:
        return profile
    captures = [_with_report(capture, known) for capture in profile.captures]
    path, reason = known.get(WHOLE_JOB, (profile.report_path, profile.report_reason))
    return profile.model_copy(
        update={"captures": captures, "report_path": path, "report_reason": reason},
    )


def rested(job: AnyJob, observed: Observed, now: float) -> JobStatus:
    """Return the status of a job that has ended: what still comes to it are reports."""
    if not isinstance(job, Job) or not observed.collectors:
        return job.status
    return job.status.model_copy(update={"profile": with_reports(job.status.profile, job, observed, now)})


Outcome = tuple[str | None, str | None]
"""The path of a report, and why there is none."""


def _settled(profile: ProfileStatus) -> Iterator[tuple[str, Outcome]]:
    """Yield what status knows the outcome of."""
    for capture in profile.captures:
        if capture.report or capture.report_reason:
            yield capture.id, (capture.report, capture.report_reason)
    if profile.report_path or profile.report_reason:
        yield WHOLE_JOB, (profile.report_path, profile.report_reason)


def _next(job: Job, observed: Observed, settled: set[str], config: Config) -> NewObject | None:
    """Return the collector of what is reported on next."""
    image, there = config.collector, {found.about for found in observed.collectors}
    about = next((name for name in _reportable(job) if name not in settled | there), None)
    if image is None or about is None:
        return None
    return NewObject(
        "Pod", collector_name(job.name, job.uid, about), lambda: build_collector(job, about, image)
    )


def _reportable(job: Job) -> Iterator[str]:
    profile = job.status.profile
    if profile is None or job.spec.outputs is None:
        return
    complete = [capture.id for capture in profile.captures if _is_complete(capture)]
    yield from complete
    is_over = job.status.phase is not None and job.status.phase.is_final
    if is_over and (complete or profile.verdict):
        yield WHOLE_JOB


def _is_complete(capture: Capture) -> bool:
    return capture.path is not None and capture.phase in {
        CapturePhase.READY.value,
        CapturePhase.PARTIAL.value,
    }


def _end(found: CollectorState, now: float) -> Outcome | None:
    if found.succeeded:
        folder = "" if found.about == WHOLE_JOB else f"{files.capture(found.about)}/"
        return f"{folder}{files.REPORT}", None
    if found.ended:
        return None, clean(found.why or "the collector's pod was ended", REASON_BYTES)
    if now - found.seen >= START_SECONDS:
        waits = f" ({found.why})" if found.why else ""
        return None, clean(f"the collector has not ended in {START_SECONDS / 60:g} min{waits}", REASON_BYTES)
    return None


def _with_report(capture: Capture, known: dict[str, Outcome]) -> Capture:
    path, reason = known.get(capture.id, (None, None))
    if capture.path is None:  # its files were removed
        path = None
    return capture.model_copy(update={"report": path, "report_reason": reason})
