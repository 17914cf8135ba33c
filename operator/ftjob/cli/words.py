"""What a person reads about a job: short texts made from its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import ConditionType, Part
from ftjob_protocol import files

if TYPE_CHECKING:
    from pathlib import Path

    from ftjob.models.status import Failure, Finding, JobStatus, Progress, Timeline


def duration(seconds: float) -> str:
    """Return a time span as people say it: ``850 ms``, ``12 s``, ``3 m 20 s``, ``2 h 5 m``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} µs"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} m"


def progress_line(progress: Progress) -> str:
    """Return step, share, step time, time to go and metrics, as far as they are known."""
    parts = []
    if progress.step is not None:
        total = f"/{progress.total_steps}" if progress.total_steps else ""
        share = f" ({progress.percent:.0f} %)" if progress.percent is not None else ""
        parts.append(f"step {progress.step}{total}{share}")
    if progress.epoch is not None:
        parts.append(f"epoch {progress.epoch:g}")
    if progress.step_seconds is not None:
        parts.append(f"{duration(progress.step_seconds)} a step")
    if progress.eta_seconds is not None:
        parts.append(f"ETA {duration(progress.eta_seconds)}" if progress.eta_seconds else "ETA 0 s")
    parts += [f"{name} {value:.4g}" for name, value in progress.metrics.items()]
    return ", ".join(parts)


def verdict(status: JobStatus) -> str:
    """Return why the job is slow, as far as is known."""
    return (status.profile.verdict if status.profile is not None else None) or ""


def findings(status: JobStatus) -> list[Finding]:
    """Return what the verdict rests on."""
    return status.profile.findings if status.profile is not None else []


def failure_text(failure: Failure) -> str:
    """Return who failed, how, the tail of the traceback, what the rank said last, and what to do about it."""
    who = "the agent" if failure.rank is None else f"rank {failure.rank}"
    where = f" in {failure.pod}" if failure.pod else ""
    code = f", exit code {failure.exit_code}" if failure.exit_code is not None else ""
    message = "\n".join(f"  {line}" for line in failure.message.rstrip().splitlines())
    log = "\n".join(f"  | {line}" for line in (failure.log_tail or "").splitlines())
    hint = f"hint: {failure.hint}" if failure.hint else ""
    found = (
        f"{who}{where} failed: {failure.reason}{code}",
        message,
        "its last lines:" if log else "",
        log,
        hint,
    )
    return "\n".join(part for part in found if part)


def time_line(timeline: Timeline) -> str:
    """Return where a job's time went: each part with its seconds, and what of the steps was waiting."""
    parts = [(part, timeline.seconds(part)) for part in Part]
    shown = []
    for part, seconds in parts:
        if seconds:
            of_it = {"for data": timeline.input, "for other ranks": timeline.blocked}
            waits = [f"{duration(found)} {what}" for what, found in of_it.items() if found]
            inside = f" ({', '.join(waits)})" if waits and part is Part.STEPPING else ""
            shown.append(f"{part} {duration(seconds)}{inside}")
    return ", ".join(shown)


def reason(status: JobStatus) -> str:
    """Return why the job failed, from its conditions."""
    for condition in status.conditions:
        if condition.type is ConditionType.FAILED and condition.status == "True":
            return condition.message or condition.reason
    return ""


def profiles(outputs: Path) -> list[Path]:
    """Return the captures that at least one rank has finished."""
    return sorted(
        {path.parents[2] for path in (outputs / files.CAPTURES).glob(f"*/{files.RAW}/rank-*/{files.DONE}")}
    )


def missing_profiles(status: JobStatus) -> list[str]:
    """Return which captures are not there, or not whole, and why."""
    captures = status.profile.captures if status.profile is not None else []
    return [f"{found.id} {found.phase}: {found.reason}" for found in captures if found.reason]


def shorten(path: Path, folder: Path) -> str:
    """Return a path below a folder as relative to it."""
    return f"./{path.relative_to(folder)}" if path.is_relative_to(folder) else str(path)
