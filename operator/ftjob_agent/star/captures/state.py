"""How far a capture is, from what each of its ranks says; pure."""

from __future__ import annotations

from collections import Counter
from typing import Mapping, NamedTuple, Sequence

from ftjob_protocol.captures.order import CapturePhase
from ftjob_protocol.captures.window import RankCapture, RankPhase
from ftjob_protocol.values.ranges import format_indexes

_ORDER = {
    RankPhase.ARMED: 1,
    RankPhase.CAPTURING: 2,
    RankPhase.SAVING: 3,
    RankPhase.DONE: 4,
}
NAMED = 3
"""Ranks whose own words are told; of the others their numbers."""


class State(NamedTuple):
    """A phase, how many ranks have come to it, and why it is not better."""

    phase: CapturePhase
    ranks: int
    reason: str = ""


def state_of(ranks: Sequence[int], said: Mapping[int, RankCapture]) -> State:
    """Return how far the capture of these ranks is, those aside that have failed in it."""
    phases = [RankPhase(said[rank].phase) if rank in said else None for rank in ranks]
    if all(phase is not None and phase.is_final for phase in phases):
        return _end_of(ranks, said)
    stages = [_ORDER[phase] if phase else 0 for phase in phases if phase != RankPhase.FAILED]
    counts = {stage: sum(found >= stage for found in stages) for stage in (1, 2, 4)}
    if all(stage >= 3 for stage in stages):
        return State(CapturePhase.COLLECTING, counts[4])
    if any(stage >= 2 for stage in stages):
        return State(CapturePhase.CAPTURING, counts[2])
    return State(CapturePhase.ARMED if counts[1] == len(stages) else CapturePhase.REQUESTED, counts[1])


def _end_of(ranks: Sequence[int], said: Mapping[int, RankCapture]) -> State:
    done = [rank for rank in ranks if said[rank].phase == RankPhase.DONE]
    failed = [rank for rank in ranks if rank not in set(done)]
    cut = [rank for rank in done if not said[rank].is_whole]
    if not done:
        return State(CapturePhase.FAILED, 0, _words(failed, said))
    parts = [_words(failed, said), _words(cut, said)]
    begins = Counter(said[rank].first_step for rank in done)
    if len(begins) > 1:
        usual = begins.most_common(1)[0][0]
        others = [rank for rank in done if said[rank].first_step != usual]
        parts.append(_words(others, said) or f"ranks {format_indexes(others)} began at another step")
    reason = "; ".join(part for part in parts if part)
    if reason:
        return State(CapturePhase.PARTIAL, len(done) - len(cut), reason)
    return State(CapturePhase.READY, len(done), _words([done[0]], said))


def _words(ranks: Sequence[int], said: Mapping[int, RankCapture]) -> str:
    """Return what ranks say, those of the same word together."""
    groups: dict[str, list[int]] = {}
    for rank in ranks:
        if said[rank].note:
            groups.setdefault(said[rank].note, []).append(rank)
    texts = [_named(found, note) for note, found in groups.items()]
    return "; ".join(texts[:NAMED] + ["…"] * (len(texts) > NAMED))


def _named(ranks: Sequence[int], note: str) -> str:
    return f"rank{'s' * (len(ranks) > 1)} {format_indexes(ranks)}: {note}"
