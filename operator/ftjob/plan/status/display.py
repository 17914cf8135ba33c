"""Strings for the printer columns. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftjob.models.status import Display
from ftjob.models.times import age

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
        eta = age(progress.eta_seconds)
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
