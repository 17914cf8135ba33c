"""``ftjob why``: why a job does not run, has failed or is slow, by what that is known, and what to do."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from ftjob.cli.exit_codes import SUCCEEDED
from ftjob.cli.jobs.common import exit_code
from ftjob.cli.look.answer import cause_as_json, head, says
from ftjob.cli.look.causes import likeliest
from ftjob.cli.look.read import look_at
from ftjob.cli.look.seen import Seen
from ftjob.cli.speed.find_job import find_job
from ftjob.cli.terminal import say
from ftjob.cli.words import duration, failure_text, findings, reason, time_line, verdict
from ftjob.models.spec import ProfilingMode
from ftjob.models.times import unix
from ftjob_protocol import files
from ftjob_protocol.files.nofollow import Folder
from ftjob_protocol.vitals.history import read_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ftjob.cli.look.causes import Cause
    from ftjob.cli.speed.find_job import FoundJob
    from ftjob.models.status import Finding

ROWS = 16
TAIL_BYTES = 4 << 20
TIMES = {"stepMs": "STEP", "inputMs": "INPUT", "ownMs": "OWN", "blockedMs": "BLOCKED"}
"""Medians of a block: what a table of ranks shows."""


def main(args: argparse.Namespace) -> int:
    """Print the answer."""
    return exit_code(lambda: _why(args))


def _why(args: argparse.Namespace) -> int:
    job = find_job(args)
    seen = look_at(job.handle) if job.handle is not None else _as_seen(job)
    cause = likeliest(seen)
    ranks = list(_last_blocks(job.outputs)) if job.outputs is not None else []
    if args.output == "json":
        print(json.dumps(_as_json(job, seen, cause, ranks), indent=2))
    else:
        say(*_lines(job, seen, cause, ranks), stream=sys.stdout)
    return SUCCEEDED


def _as_seen(job: FoundJob) -> Seen:
    """Return a run on this machine: all that is known of it is in its status."""
    now = time.time()
    return Seen(job.name, job.namespace, created=now, now=now, status=job.status)


def _lines(
    job: FoundJob, seen: Seen, cause: Cause | None, ranks: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    status = job.status
    yield from head(seen, None if cause is None or cause.is_slowness else cause)
    if status.failure is not None:
        yield failure_text(status.failure.model_copy(update={"hint": None}))
    yield verdict(status) or _why_none(job)
    since = status.profile.verdict_time if status.profile is not None else None
    if since and not (status.phase is not None and status.phase.is_final):
        yield f"  so since {since}, {duration(max(0.0, seen.now - unix(since)))} ago"
    for place, found in enumerate(findings(status)):
        if place:
            yield f"also {found.text}"
        yield from _evidence(found)
    if status.timeline is not None and time_line(status.timeline):
        yield f"time: {time_line(status.timeline)}"
    if ranks:
        yield ""
        yield from _table(ranks)
    yield from (f"not read: {text}" for text in seen.unread)


def _evidence(found: Finding) -> Iterator[str]:
    yield f"  {found.confidence.lower()} confidence"
    yield from (f"  - {text}" for text in found.evidence)
    if found.next:
        yield f"  next: {found.next}"


def _why_none(job: FoundJob) -> str:
    """Return why there is no verdict."""
    profiling = job.spec.get("profiling")
    mode = profiling.get("mode") if isinstance(profiling, dict) else None
    if mode == ProfilingMode.OFF:
        return (
            "no verdict: spec.profiling.mode is Off, so nothing is measured; remove it and run the job anew"
        )
    status = job.status
    if status.phase is not None and status.phase.is_final:
        return "no verdict: the job ended before two blocks of steps were made after its warm-up"
    if status.running_time is None:
        return "no verdict yet: not all workers run" + (f"; {reason(status)}" if reason(status) else "")
    if status.progress is None or status.progress.step is None:
        return "no verdict yet: no step was seen"
    return "no verdict yet: it takes two blocks of steps after the warm-up, half a minute as a rule"


def _last_blocks(outputs: Path) -> Iterator[Mapping[str, Any]]:
    """Return what the last block of each rank took, as far as it is there."""
    try:
        with Folder(str(outputs)) as top, top.enter(files.VITALS) as folder:
            for name in folder.names():
                if name.startswith("rank-") and name.endswith(".jsonl") and ".tail" not in name:
                    found = _last_line(folder, name)
                    if found is not None:
                        yield found
    except OSError:
        return


def _last_line(folder: Folder, name: str) -> Mapping[str, Any] | None:
    older, newer = files.tails(name)
    for part in (newer, older, name):
        if folder.has(part):
            for text in reversed(folder.read(part, TAIL_BYTES).splitlines()):
                found = read_line(text)
                if found is not None:
                    return found
    return None


def _table(ranks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Show medians of a step in milliseconds."""
    yield "RANK  " + "  ".join(f"{name:>8}" for name in TIMES.values()) + "   ms, median of the last block"
    for found in ranks[:ROWS]:
        yield f"{found['rank']:>4}  " + "  ".join(f"{_median(found.get(key)):>8}" for key in TIMES)
    if len(ranks) > ROWS:
        yield f"and {len(ranks) - ROWS} more ranks"


def _median(spread: Any) -> str:
    first = spread[0] if isinstance(spread, list) and spread else None
    return f"{first:.1f}" if isinstance(first, (int, float)) else "-"


def _as_json(
    job: FoundJob, seen: Seen, cause: Cause | None, ranks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    profile = job.status.to_wire().get("profile")
    known = profile if isinstance(profile, dict) else {}
    return {
        "job": job.name,
        "phase": job.status.phase,
        "says": says(job.name, job.status, cause),
        "cause": cause_as_json(cause),
        "verdict": known.get("verdict"),
        "verdictTime": known.get("verdictTime"),
        "why": None if known.get("verdict") else _why_none(job),
        "findings": known.get("findings", []),
        "stragglers": known.get("stragglers", []),
        "ranks": list(ranks),
    }
