"""Elastic jobs: workers that come, go and are replaced while the attempt goes on. Pure.

A worker of index 1 or higher may be *lost* (its pod was deleted or evicted, its node or its agent has died),
which costs nothing, or *fail* by itself, which spends ``restart.limit`` as a restart of the whole job would.
Either way another pod takes its index, under another name: the old one may hang on a dead node for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftjob.plan.life.attempt import progressed
from ftjob.plan.life.deletion import refs
from ftjob.plan.life.first_failure import first_failure, sentence
from ftjob.plan.life.restart import SHORT_LIFE_SECONDS, backoff, first_backoff, judge
from ftjob.plan.life.starting import build
from ftjob.plan.observed.state import RefusalKind
from ftjob.plan.plan import Changes, ForStatus, Plan, Replacements, Step, soonest
from ftjob_protocol.failures import FailureClass
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ftjob.models.spec import JobSpec
    from ftjob.models.status import Failure, RoleStatus
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.pod import PodState
    from ftjob.plan.observed.state import Refusal
    from ftjob.plan.plan import Config, PodRef

OWN_FAILURES = frozenset(
    {FailureClass.EXCEPTION, FailureClass.EXIT, FailureClass.SIGNAL, FailureClass.CONFIG}
)
KILLED = 137


def enough_run(spec: JobSpec, roles: Iterable[RoleStatus], pods: Iterable[PodState]) -> bool:
    """Return whether so many workers run, or have succeeded, that the job does.

    An elastic job does with few, but not without index 0, where its workers meet.
    """
    if spec.elastic is None:
        return all(role.ready + role.succeeded >= role.desired for role in roles)
    least = spec.elastic.min_workers
    has_leader = any(pod.index == 0 and (pod.running or pod.succeeded) for pod in pods)
    return has_leader and all(role.ready + role.succeeded >= min(role.desired, least) for role in roles)


def failed_by_itself(pod: PodState) -> bool:
    """Whether a pod's end was the program's own doing, rather than that of who took the pod away."""
    end = pod.terminated
    if end is None or pod.succeeded or pod.was_released or pod.disruption is not None or pod.deleting:
        return False
    told = end.message.failure if end.message is not None else None
    if Reason.OOM_KILLED in {end.reason, told.type if told is not None else ""}:
        return True
    if told is None:
        return end.exit_code != KILLED  # an agent that was killed had no time for a word
    return told.failure_class in OWN_FAILURES and not told.is_without_contact


def latecomers(attempt: Attempt) -> tuple[PodRef, ...]:
    """Return the pods of an elastic job that would start when all is over, whatever ``cleanPods`` says."""
    if attempt.spec.elastic is None:
        return ()
    return refs(pod for pod in attempt.pods if not pod.is_over and not pod.running)


def goes_on_without(attempt: Attempt, refusal: Refusal) -> bool:
    """Whether an elastic job does with the workers that it has, when a further one is refused."""
    elastic = attempt.spec.elastic
    if elastic is None or refusal.object_kind != "Pod":
        return False
    if refusal.kind not in {RefusalKind.FORBIDDEN, RefusalKind.TERMINATING} and not attempt.has_run:
        return False
    there = [pod for pod in attempt.pods if not pod.is_over and not pod.deleting]
    return len(there) >= elastic.min_workers and any(pod.index == 0 for pod in there)


def replacements(attempt: Attempt) -> Replacements | None:
    """Decide who is replaced; None if the attempt can't go on so."""
    elastic, pods, done = attempt.spec.elastic, attempt.pods, attempt.done
    if elastic is None or not attempt.has_run:
        return None
    counts = attempt.status.replaced or {}
    lost = [
        pod
        for pod in pods
        if (pod.is_over or pod.deleting) and pod.place not in done and not pod.was_released
    ]
    if not lost:
        return Replacements(counts)
    leader = attempt.layout.leader.place
    running = sum(pod.running and not pod.is_over and not pod.deleting for pod in pods) + len(done)
    if any(pod.place == leader for pod in lost) or running < elastic.min_workers:
        return None
    if leader in done:
        return None if any(failed_by_itself(pod) for pod in lost) else Replacements(counts)
    tally = _Tally(dict(counts))
    for pod in lost:
        if not _replace(pod, attempt, tally):
            return None
    return Replacements(
        tally.counts, tuple(tally.failures), "; ".join(tally.said), min(tally.waits, default=None)
    )


@dataclass
class _Tally:
    """What has been decided about the workers that were looked at so far."""

    counts: dict[str, int]
    failures: list[Failure] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


def _replace(pod: PodState, attempt: Attempt, tally: _Tally) -> bool:
    """Have a lost worker replaced, now or later; return False if its failure ends the attempt."""
    spec, status, uid = attempt.spec, attempt.status, attempt.job.uid
    times = tally.counts.get(str(pod.index), 0)
    end = first_failure([pod])
    own = end if failed_by_itself(pod) else None
    seen = pod.terminated.seen if pod.terminated is not None else pod.deleting_seen
    if own is not None:
        spent = status.restarts.failures + len(tally.failures)
        restart = judge(
            own.failure,
            spec.restart,
            status.restarts.model_copy(update={"failures": spent}),
            disruption=False,
            progressed=progressed(status, attempt.now),
            lived=attempt.lived(seen),
            seed=f"{uid}/{status.attempt}",
        )
        if not restart.again:
            return False
    # The first comes at once, and whoever follows it takes its time: something ends it each time.
    is_short = own is not None and (times > 0 or attempt.lived(seen) < SHORT_LIFE_SECONDS)
    first_wait = first_backoff(spec.restart, is_short=is_short)
    wait = backoff(first_wait, max(0, times - 1), f"{uid}/{pod.index}") if times or is_short else 0.0
    left = seen + wait - attempt.now
    if left > 0:
        tally.waits.append(left)
        return True
    tally.counts[str(pod.index)] = times + 1
    if own is not None:
        tally.failures.append(own.failure)
    why = sentence(end.failure) if end is not None else f"pod {pod.name} is being deleted"
    tally.said.append(f"worker {pod.index} is replaced: {why}")
    return True


def replace_workers(attempt: Attempt, changes: Replacements, config: Config) -> Plan:
    """Let a running elastic job have the workers that it asks for; what is in the way of that waits."""
    after = attempt.after(changes)
    wait = attempt.observed.until_next_try(attempt.now)
    names = {worker.name for worker in after.layout.workers}
    present = {pod.name for pod in attempt.pods}
    absent = [w for w in after.layout.workers if w.name not in present and w.place not in attempt.done]
    # The leader's end is near when it has succeeded: nobody joins then.
    wanted = [] if after.layout.leader.place in attempt.done or wait is not None else absent
    return Plan(
        Step.CONTINUE,
        reason=Reason.WORKER_REPLACED if changes.message else "",
        message=changes.message,
        changes=Changes(
            create=build(attempt, after.layout, wanted, config),
            delete=(
                *refs(attempt.older_pods),
                *refs(attempt.surplus),
                *refs(pod for pod in attempt.pods if pod.name not in names),
            ),
        ),
        status=ForStatus(replacements=changes),
        next_look=soonest(changes.next_look, wait),
    )
