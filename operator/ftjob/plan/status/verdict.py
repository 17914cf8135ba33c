"""Why a job is slow, as its leader says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import Finding, ProfileStatus, Straggler
from ftjob.models.times import rfc3339, unix
from ftjob_protocol.vitals.verdict import shortened, without_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ftjob.plan.life.attempt import Attempt
    from ftjob_protocol.vitals import verdict as said

PATIENCE_SECONDS = 60.0
"""A verdict stays for so long at least, however soon the leader finds another one."""
STRAGGLERS = 16

STRAGGLER = "Straggler"


def with_verdict(profile: ProfileStatus | None, attempt: Attempt) -> ProfileStatus | None:
    """Return what profiling has shown, with the verdict: the one before, unless the leader has another one.

    Numbers change with each block of steps, and are no reason to write a status: that is who is to blame,
    and for what.
    """
    before, found = attempt.status.profile or ProfileStatus(), _said(attempt)
    if found is None or not _is_due(before, found, attempt.now):
        kept = {name: getattr(before, name) for name in ("verdict", "verdict_time", "findings", "stragglers")}
        return (profile or ProfileStatus()).model_copy(update=kept) if before.verdict else profile
    return (profile or ProfileStatus()).model_copy(
        update={
            "verdict": found.text,
            "verdict_time": rfc3339(attempt.now),
            "findings": [_finding(each) for each in found.findings],
            "stragglers": list(_stragglers(found.findings, attempt))[:STRAGGLERS],
        }
    )


def _said(attempt: Attempt) -> said.Verdict | None:
    leader = attempt.observed.leader
    return leader.verdict if leader is not None and leader.attempt == attempt.status.attempt else None


def _is_due(before: ProfileStatus, found: said.Verdict, now: float) -> bool:
    """Whether the verdict is another one, and one before that blamed somebody has stood for long enough."""
    if before.verdict is None or before.verdict_time is None:
        return True
    new = [_finding(each) for each in found.findings]
    if new and (not before.findings or (new[0].line and not before.findings[0].line)):
        return True  # somebody is to blame, or it is known at which line
    if new or before.findings:
        is_other = [identity(each) for each in new] != [identity(each) for each in before.findings]
    else:
        is_other = without_numbers(found.text) != without_numbers(before.verdict)
    return is_other and now - unix(before.verdict_time) >= PATIENCE_SECONDS


def identity(finding: Finding) -> tuple[object, ...]:
    """Return what makes it the same finding, whatever its numbers are now."""
    return (
        finding.kind,
        finding.ranks,
        finding.node,
        finding.cause,
        finding.confidence,
        finding.line is not None,
    )


def _finding(found: said.Finding) -> Finding:
    return Finding(
        kind=found.kind,
        text=found.text,
        confidence=found.confidence,
        cost_share=round(found.cost_share, 3),
        ranks=shortened(found.ranks),
        node=found.node or None,
        cause=found.cause or None,
        line=found.line or None,
        evidence=list(found.evidence),
        next=found.next or None,
    )


def _stragglers(findings: Iterable[said.Finding], attempt: Attempt) -> Iterator[Straggler]:
    nodes = {pod.place: pod.node for pod in attempt.pods}
    named: set[int] = set()
    for found in findings:
        if found.kind != STRAGGLER:
            continue
        for worker in attempt.layout.workers:
            for rank in worker.ranks:
                if rank not in named and any(rank in ranks for ranks in found.ranks):
                    named.add(rank)
                    yield Straggler(
                        rank=rank,
                        node=nodes.get(worker.place),
                        lateness_ms=round(found.excess_ms or 0.0, 1),
                        cause=found.cause or None,
                    )
