"""What follows when the API server did not create an object: a quota, a webhook, a wrong template. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.deaths.explain import with_hint
from ftjob.models.status import Failure
from ftjob.plan.life.deletion import refs
from ftjob.plan.life.elastic import goes_on_without
from ftjob.plan.observed.state import RefusalKind
from ftjob.plan.plan import Changes, ForStatus, Plan, Step
from ftjob_protocol.reasons import Reason

if TYPE_CHECKING:
    from ftjob.plan.life.attempt import Attempt


def after_refusal(attempt: Attempt) -> Plan | None:
    """Decide what follows from an object that was not created; None when it is time to try again."""
    refusal = attempt.observed.refusal
    if refusal is None or goes_on_without(attempt, refusal):
        return None
    what = f"{refusal.object_kind} {refusal.object_name}: {refusal.message}"
    # Half a job helps nobody: what was created of it is taken back, so that others can run meanwhile.
    take_back = Changes(delete=refs(attempt.every_pod))
    if refusal.kind is RefusalKind.INVALID:
        remedy = "; correct spec.template and apply the job again" if refusal.object_kind == "Pod" else ""
        message = f"the API server refuses {what}{remedy}"
        return Plan(Step.REFUSE, reason=Reason.INVALID_SPEC, message=message, changes=take_back)
    if refusal.kind is RefusalKind.CONFLICT:
        failure = Failure(reason=Reason.NAME_CONFLICT, message=refusal.message)
        return Plan(
            Step.FAIL,
            reason=Reason.NAME_CONFLICT,
            message=refusal.message,
            changes=take_back,
            status=ForStatus(failure=failure),
        )
    if refusal.retry_at <= attempt.now:
        return None
    ours_before = refusal.kind is RefusalKind.TERMINATING
    return Plan(
        _step_while_refused(attempt),
        reason=Reason.PREVIOUS_RUN if ours_before else Reason.FORBIDDEN,
        message=refusal.message if ours_before else with_hint(what),
        changes=take_back,
        next_look=refusal.retry_at - attempt.now,
    )


def _step_while_refused(attempt: Attempt) -> Step:
    status = attempt.status
    if not status.attempt:
        return Step.WAIT
    return Step.HOLD if status.pod_attempt == status.attempt else Step.RECREATE
