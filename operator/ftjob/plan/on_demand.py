"""Captures that are asked for by the job's annotation, and those that the leader takes by itself. Pure.

Status keeps an entry for each, by its id: that is how a later look, or another operator, knows what was asked
already. The leader is told again and again until it says that it was.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ftjob.models.names import ANNOTATION_CAPTURE
from ftjob.models.spec import ProfilingMode
from ftjob.models.status import Capture
from ftjob_protocol import files
from ftjob_protocol.captures import is_scheduled
from ftjob_protocol.captures.order import CaptureOrder, CapturePhase, may_ask_for
from ftjob_protocol.states import State
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from ftjob.api.job import Job
    from ftjob.plan.life.attempt import Attempt
    from ftjob_protocol.captures.order import Asked
    from ftjob_protocol.leader_state import LeaderState

TELL_AGAIN_SECONDS = 2.0
ENTRIES_MAX = 20
"""Of such captures in a status: the oldest that have ended are left out."""
REASON_BYTES = 1024
INVALID = "invalid-id"

_GONE = "its files were removed, since profiling.budget is used up"


def order(attempt: Attempt) -> CaptureOrder | None:
    """Return what the leader has still to be told."""
    wanted = _wanted(attempt.job)
    if not isinstance(wanted, CaptureOrder) or _was_told(attempt, wanted.id):
        return None
    told = _leader(attempt)
    if told is None or told.state != State.RUNNING or any(asked.id == wanted.id for asked in told.asked):
        return None
    return wanted


def entries(attempt: Attempt, *, ended: str | None, final: bool) -> list[Capture]:
    """Return the entry of each such capture, oldest first.

    Parameters
    ----------
    ended
        Why the attempt is over, if that is known; None while it goes on.
    final
        Whether the job is over.
    """
    before = attempt.status.profile.captures if attempt.status.profile is not None else []
    found = {capture.id: capture for capture in before if not is_scheduled(capture.id)}
    wanted, told = _wanted(attempt.job), _leader(attempt)
    if isinstance(wanted, Capture):
        found[wanted.id] = wanted
    elif wanted is not None:
        found.setdefault(wanted.id, Capture(id=wanted.id, phase=CapturePhase.REQUESTED.value))
    asked = {word.id: word for word in told.asked} if told is not None else {}
    for name in (*found, *(name for name in asked if name not in found)):
        if name in asked:
            found[name] = _entry(asked[name])
        elif is_untold(found[name]) and (wanted is None or name != wanted.id):
            found[name] = _refused(name, "the annotation did not name it any more when the ranks ran")
        if is_untold(found[name]):
            found[name] = (
                _failed(found[name], "the job ended before the capture began") if final else found[name]
            )
        elif not _is_final(found[name]) and (ended is not None or (told is not None and name not in asked)):
            found[name] = _failed(found[name], cut_short(ended))
    return _bounded(list(found.values()), wanted.id if wanted is not None else "")


def _wanted(job: Job) -> CaptureOrder | Capture | None:
    """Return what the annotation asks for; the entry of its refusal if that can't be."""
    text = job.annotations.get(ANNOTATION_CAPTURE)
    if text is None:
        return None
    try:
        wanted = CaptureOrder.of_text(text)
    except ValueError as error:
        return _refused(_id_in(text), f"annotation {ANNOTATION_CAPTURE}: {error}")
    if job.spec.profiling.mode is ProfilingMode.OFF:
        return _refused(wanted.id, "profiling.mode is Off; set it to OnDemand")
    return wanted


def _refused(name: str, reason: str) -> Capture:
    return Capture(id=name, phase=CapturePhase.REFUSED.value, reason=clean(reason, REASON_BYTES))


def _id_in(text: str) -> str:
    """Return the id in what is no order, if it is one."""
    try:
        found = json.loads(text)["id"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return INVALID
    return found if isinstance(found, str) and may_ask_for(found) else INVALID


def _leader(attempt: Attempt) -> LeaderState | None:
    told = attempt.observed.leader
    return told if told is not None and told.attempt == attempt.status.attempt else None


def _was_told(attempt: Attempt, name: str) -> bool:
    """Whether a leader has known of a capture: if its attempt has ended since, no later one takes it."""
    before = attempt.status.profile.captures if attempt.status.profile is not None else []
    return any(capture.id == name and not is_untold(capture) for capture in before)


def _is_final(capture: Capture) -> bool:
    return capture.phase not in {phase.value for phase in CapturePhase if not phase.is_final}


def is_untold(capture: Capture) -> bool:
    """Whether the leader has never said that it knows of a capture."""
    return capture.phase == CapturePhase.REQUESTED.value and not capture.ranks


def _entry(asked: Asked) -> Capture:
    phase = CapturePhase(asked.phase)
    has_files = phase in {CapturePhase.READY, CapturePhase.PARTIAL}
    reason = "; ".join(filter(None, (asked.reason, _GONE if asked.is_removed else "")))
    return Capture(
        id=asked.id,
        phase=phase.value,
        ranks=f"{asked.done}/{asked.ranks}" if asked.ranks else "",
        path=files.capture(asked.id) if has_files and not asked.is_removed else None,
        reason=reason or None,
    )


def cut_short(why: str | None) -> str:
    """Return why a capture will never be whole, from why its attempt is over, if that is known."""
    return ": ".join(filter(None, ("the attempt ended before the capture was whole", why)))


def _failed(capture: Capture, reason: str) -> Capture:
    total = capture.ranks.rpartition("/")[2]
    return Capture(
        id=capture.id,
        phase=CapturePhase.FAILED.value,
        ranks=f"0/{total}" if total else "",
        reason=clean("; ".join(filter(None, (capture.reason, reason))), REASON_BYTES),
    )


def _bounded(captures: list[Capture], wanted: str) -> list[Capture]:
    """Leave the oldest out that have ended: but that of the annotation, which would be asked for again."""
    surplus = len(captures) - ENTRIES_MAX
    if surplus <= 0:
        return captures
    gone = [capture.id for capture in captures if _is_final(capture) and capture.id != wanted][:surplus]
    return [capture for capture in captures if capture.id not in gone]
