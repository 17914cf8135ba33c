"""Which captures of a job there are: scheduled ones, and those that were asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ftjob.models.index_ranges import format_indexes
from ftjob.models.names import ANNOTATION_CAPTURE
from ftjob.models.spec import ProfilingMode
from ftjob.models.status import Capture, ProfileStatus
from ftjob.plan.build.agent_config import profiled_ranks
from ftjob_protocol import files

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.life.attempt import Attempt

CAPTURE_ID = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""A capture's id becomes a folder."""


def profile_status(attempt: Attempt, *, final: bool) -> ProfileStatus | None:
    """Return which captures there are, which ranks are missing in them, and which were refused."""
    captures = _scheduled(attempt, final=final)
    refused = _refused_capture(attempt.job)
    if refused is not None and all(capture.id != refused.id for capture in captures):
        captures.append(refused)
    if not captures:
        return attempt.status.profile
    return ProfileStatus(last_capture_id=captures[-1].id, captures=captures)


def _refused_capture(job: Job) -> Capture | None:
    """Return the entry of a capture that was asked for: refused with its reason, never ignored."""
    asked = job.annotations.get(ANNOTATION_CAPTURE)
    if asked is None:
        return None
    valid = re.fullmatch(CAPTURE_ID, asked)
    reason = "captures on demand are not supported in this version yet; set profiling.mode to Scheduled"
    return Capture(id=asked if valid else "invalid-id", phase="Refused", reason=reason)


def _scheduled(attempt: Attempt, *, final: bool) -> list[Capture]:
    spec, before, leader = attempt.spec, attempt.status.profile, attempt.observed.leader
    if spec.profiling.mode is not ProfilingMode.SCHEDULED:
        return []
    ranks: dict[str, set[int]] = {}
    for capture in leader.captures if leader is not None else ():
        ranks.setdefault(str(capture.get("id")), set()).update(capture.get("ranks") or ())
    for pod in attempt.pods:
        if pod.terminated is not None and pod.terminated.message is not None:
            for capture_id, done in pod.terminated.message.captures.items():
                ranks.setdefault(capture_id, set()).update(done)
    if not ranks and before is not None:  # a restarted operator has not been told yet
        return [capture for capture in before.captures if capture.phase != "Refused"]
    expected = profiled_ranks(spec, attempt.layout)
    captures = []
    for capture_id in sorted(ranks, key=lambda name: (len(name), name)):
        missing = sorted(expected - ranks[capture_id])
        phase = "Ready" if not missing else ("Partial" if final else "Capturing")
        captures.append(
            Capture(
                id=capture_id,
                phase=phase,
                ranks=f"{len(expected) - len(missing)}/{len(expected)}",
                path=files.capture(capture_id),
                reason=f"no capture from ranks {format_indexes(missing)}" if phase == "Partial" else None,
            )
        )
    return captures
