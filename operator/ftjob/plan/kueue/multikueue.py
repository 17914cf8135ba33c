"""A job that Kueue runs in another cluster: here it needs its Workload, and nothing else. Pure.

On the management cluster MultiKueue takes the Workload for what the job asks for, looks for a cluster that
admits a copy of it, creates a copy of the job there, and copies the status of that whole to the job here
(``SyncJob`` in Kueue's pkg/controller/admissionchecks/multikueue/externalframeworks/adapter.go, v0.19.2). The
status is thus not ours to write: what we have to say of such a job becomes an Event.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ftjob.api.job import UnreadableJob
from ftjob.api.problem import summary
from ftjob.api.validate import validate
from ftjob.models.names import MULTIKUEUE
from ftjob.models.status import Phase
from ftjob.models.times import unix
from ftjob.plan.kueue.queue import is_outdated, make_workload
from ftjob.plan.kueue.workload import version_of, workload_of, workload_refs
from ftjob.plan.kueue.workload_status import finish, give_back, is_evicted, say_ready
from ftjob.plan.life.attempt import workers_run
from ftjob.plan.life.finished import rest
from ftjob.plan.observed.state import Observed
from ftjob.plan.plan import Changes, ForKueue, Plan, Step
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.api.job import AnyJob, Job, JobHead
    from ftjob.plan.observed.kueue_admission import WorkloadState
    from ftjob.plan.plan import Config

RUNS = frozenset({Phase.STARTING, Phase.RUNNING, Phase.RESTARTING})
"""Phases of the copy in which it may have pods."""
PATIENCE_SECONDS = 60.0
"""How long an eviction waits for the copy to say that it has stopped: its cluster may be out of reach."""


def send_away(job: AnyJob, observed: Observed, *, now: float, config: Config) -> Plan:
    """Decide what a job needs here that runs in another cluster; a reason is given only for trouble.

    Parameters
    ----------
    job
        The job with the status of its copy, as far as MultiKueue has brought it here.
    observed
        What is known of its Workload.
    now
        Unix time in seconds.
    config
        The operator's settings.
    """
    workload = workload_of(job, observed)
    if job.status.phase is not None and job.status.phase.is_final:
        return _after_the_end(job, workload, now=now)
    problems = validate(job)
    if problems or isinstance(job, UnreadableJob):
        changes = Changes(remove=workload_refs(observed.workloads))
        return Plan(Step.REFUSE, reason=Reason.INVALID_SPEC, message=summary(problems), changes=changes)
    return _trouble(observed, now=now) or _offer(job, workload, observed, now=now, config=config)


def _offer(
    job: Job, workload: WorkloadState | None, observed: Observed, *, now: float, config: Config
) -> Plan:
    """Keep the Workload as the job is, for MultiKueue to find it a cluster."""
    if job.spec.suspend or (workload is not None and is_outdated(workload, job, config)):
        # MultiKueue deletes the copies when this one goes.
        return Plan(Step.WAIT, changes=Changes(remove=workload_refs(observed.workloads)))
    if workload is None:
        return make_workload(Plan(Step.QUEUE), job, observed, config)
    if is_evicted(workload):
        left = _until_given_back(job, workload, now)
        say = None if left > 0 else give_back(workload, now=now)
        return Plan(Step.QUEUE, kueue=ForKueue(say=say), next_look=left or None)
    say = say_ready(workload, workers_run(job.status), now=now)
    return Plan(Step.CONTINUE, kueue=ForKueue(say=say))


def _after_the_end(job: AnyJob, workload: WorkloadState | None, *, now: float) -> Plan:
    """Say that the Workload is over, as MultiKueue does when it comes to it, and delete the job in time."""
    plan = rest(job, Observed(), now=now)
    if workload is None:
        return plan
    reason = Reason.SUCCEEDED if job.status.phase is Phase.SUCCEEDED else Reason.FAILED
    say = finish(workload, reason, "the job has ended in another cluster", now=now)
    return replace(plan, kueue=ForKueue(say=say))


def _trouble(observed: Observed, *, now: float) -> Plan | None:
    """Return what to do while there can't be a Workload, or None."""
    if version_of(observed.served) is None:
        message = f"spec.managedBy is {MULTIKUEUE}, and this cluster does not serve Kueue's Workload"
        return Plan(Step.WAIT, reason=Reason.NO_KUEUE, message=message)
    refusal = observed.refusal
    if refusal is not None and refusal.retry_at > now:
        message = f"{refusal.object_kind} {refusal.object_name}: {refusal.message}"
        return Plan(
            Step.WAIT, reason=Reason.WORKLOAD_NOT_CREATED, message=message, next_look=refusal.retry_at - now
        )
    return None


def _until_given_back(job: JobHead, workload: WorkloadState, now: float) -> float:
    """Return the seconds that an evicted job is given to stop where it runs.

    When the admission has been given back, MultiKueue deletes the copy and may start the next in another
    cluster (``reconcileGroup``, step 2, pkg/controller/admissionchecks/multikueue/workload.go, v0.19.2).
    """
    if job.status.phase not in RUNS:
        return 0.0
    since = workload.conditions["Evicted"].get("lastTransitionTime")
    return max(0.0, (unix(since) if since else now) + PATIENCE_SECONDS - now)
