"""Which captures of a job there are: scheduled ones, and those that were asked for."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from ftjob.models.spec import ProfilingMode, Tool
from ftjob.models.status import Capture, ProfileStatus
from ftjob.plan import on_demand
from ftjob.plan.build.agent_config import profiled_ranks
from ftjob_protocol import files
from ftjob_protocol.captures import SCHEDULED_PREFIX, is_scheduled
from ftjob_protocol.captures.schedule import Windows
from ftjob_protocol.values.ranges import format_indexes, merge
from ftjob_protocol.values.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ftjob.models.spec import Schedule
    from ftjob.models.status import Progress
    from ftjob.plan.life.attempt import Attempt
    from ftjob.plan.observed.pod import PodState

REASON_BYTES = 1024


def profile_status(
    attempt: Attempt, progress: Progress | None, *, ended: str | None, final: bool
) -> ProfileStatus | None:
    """Return which captures there are, which ranks are missing in them, and which there will never be.

    Parameters
    ----------
    ended
        Why the attempt is over, if that is known; None while it goes on.
    final
        Whether the job is over.
    """
    captures = _scheduled(attempt, final=final)
    if final:
        captures += _missing(attempt, progress, {capture.id for capture in captures})
    captures += on_demand.entries(attempt, ended=ended, final=final)
    if not captures:
        return attempt.status.profile
    before = attempt.status.profile or ProfileStatus()
    return before.model_copy(update={"last_capture_id": captures[-1].id, "captures": captures})


def _scheduled(attempt: Attempt, *, final: bool) -> list[Capture]:
    spec, before = attempt.spec, attempt.status.profile
    if spec.profiling.mode is not ProfilingMode.SCHEDULED:
        return []
    done = _done(attempt)
    if not done and before is not None:
        # A restarted operator has not been told yet, or an earlier attempt has begun what this one did not.
        kept = [capture for capture in before.captures if is_scheduled(capture.id)]
        return [_partial(capture) if final and capture.phase == "Capturing" else capture for capture in kept]
    expected = sorted(profiled_ranks(spec, attempt.layout))
    captures = []
    for number in range(spec.profiling.schedule.repeat):
        capture_id = f"{SCHEDULED_PREFIX}{number}"
        if capture_id not in done:
            continue
        found = done[capture_id]
        # By the ends of the ranges, since a job may have many captures of many ranks.
        count = sum(bisect_left(expected, ranks.stop) - bisect_left(expected, ranks.start) for ranks in found)
        phase = "Ready" if count == len(expected) else ("Partial" if final else "Capturing")
        captures.append(
            Capture(
                id=capture_id,
                phase=phase,
                ranks=f"{count}/{len(expected)}",
                path=files.capture(capture_id),
                reason=_absent(expected, found) if phase == "Partial" else None,
            )
        )
    return captures


def _partial(capture: Capture) -> Capture:
    return capture.model_copy(update={"phase": "Partial", "reason": on_demand.cut_short(None)})


def _missing(attempt: Attempt, progress: Progress | None, known: set[str]) -> list[Capture]:
    """Return the first scheduled capture of which the job has left nothing, with the reason."""
    profiling = attempt.spec.profiling
    is_wanted = profiling.mode is ProfilingMode.SCHEDULED and Tool.FRAMEWORK in profiling.tools
    if not is_wanted or not profiled_ranks(attempt.spec, attempt.layout):
        return []
    names = (f"{SCHEDULED_PREFIX}{number}" for number in range(profiling.schedule.repeat))
    missing = [(number, name) for number, name in enumerate(names) if name not in known]
    if not missing:
        return []
    number, name = missing[0]
    begin, steps = (
        _windows(profiling.schedule).first_step(number),
        progress.step if progress is not None else None,
    )
    which = f"capture {name}" if number else "the first capture"
    made = "no step was seen" if steps is None else "1 step" if steps == 1 else f"{steps} steps"
    reason = f"{made}, {which} begins at step {begin}"
    notes = [note for pod in attempt.pods for note in _notes(pod)]
    if notes:
        reason = f"{reason}; {notes[0]}"
    reached = steps is not None and steps >= begin
    return [Capture(id=name, phase="Failed" if reached else "NotReached", reason=clean(reason, REASON_BYTES))]


def _windows(schedule: Schedule) -> Windows:
    return Windows.read(schedule.model_dump(by_alias=True))


def _notes(pod: PodState) -> Sequence[str]:
    end = pod.terminated
    return end.message.notes if end is not None and end.message is not None else ()


def _done(attempt: Attempt) -> dict[str, tuple[range, ...]]:
    """Return the ranks that have finished each capture, as the leader and the agents that have ended say."""
    told: dict[str, list[range]] = {}
    leader = attempt.observed.leader
    ends = (pod.terminated.message for pod in attempt.pods if pod.terminated is not None)
    for said in (leader, *ends):
        for capture_id, ranks in said.captures.items() if said is not None else ():
            told.setdefault(capture_id, []).extend(ranks)
    return {capture_id: merge(ranks) for capture_id, ranks in told.items()}


def _absent(expected: list[int], done: tuple[range, ...]) -> str:
    finished = {rank for ranks in done for rank in range(ranks.start, min(ranks.stop, expected[-1] + 1))}
    text = format_indexes(rank for rank in expected if rank not in finished)
    return clean(f"no capture from ranks {text}", REASON_BYTES)
