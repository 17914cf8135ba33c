"""Strings for the printer columns. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import Display

if TYPE_CHECKING:
    from ftjob.models.status import JobStatus, Progress, RoleStatus


def display(roles: list[RoleStatus], progress: Progress | None, status: JobStatus, *, final: bool) -> Display:
    """Return what kubectl shows of a job."""
    shown = eta = ""
    if progress is not None and progress.percent is not None:
        shown = f"{progress.percent:.0f}%"
    elif progress is not None and progress.step is not None:
        shown = f"step {progress.step}"
    if progress is not None and progress.eta_seconds is not None and not final:
        eta = _duration(progress.eta_seconds)
    there = sum(role.succeeded if final else role.ready + role.succeeded for role in roles)
    return Display(
        workers=f"{there}/{sum(role.desired for role in roles)}",
        progress=shown,
        eta=eta,
        restarts=restarts_shown(status),
    )


def restarts_shown(status: JobStatus) -> str:
    """Return restarts of both kinds."""
    return str(status.restarts.failures + status.restarts.disruptions)


def _duration(seconds: int) -> str:
    """Return a duration as kubectl prints ages: 45s, 3m, 2h5m, 4d."""
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 120:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{hours // 24}d"
