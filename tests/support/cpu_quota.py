"""Control groups that have less than a core, of version 1 and 2."""

from __future__ import annotations

import os
from pathlib import Path

TOP = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
"""As Kubernetes has it."""


def make(name: str, cores: float) -> Path:
    """Make a group that may use so many cores; raises OSError where that is not possible."""
    is_unified = _top() == TOP
    group = _top() / name
    group.mkdir()
    quota_us = max(1000, round(cores * PERIOD_US))
    try:
        if is_unified:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
    except OSError:
        group.rmdir()
        raise
    return group


def is_possible() -> bool:
    """Whether this machine lets us make such groups."""
    try:
        make(f"ftjob-test-{os.getpid()}-try", 1.0).rmdir()
    except OSError:
        return False
    return True


def remove(prefix: str) -> None:
    """Remove the groups whose names begin so, of processes that are gone."""
    for group in _top().glob(f"{prefix}*"):
        group.rmdir()


def _top() -> Path:
    return TOP if (TOP / "cgroup.controllers").exists() else TOP / "cpu"


def enter(group: Path) -> Path:
    """Move this process into a group; return the one that it was in."""
    top = group.parent
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next(
        path
        for _, controllers, path in (line.split(":", 2) for line in lines)
        if (top == TOP and not controllers) or "cpu" in controllers.split(",")
    )
    (group / "cgroup.procs").write_text(str(os.getpid()))
    return top / own.lstrip("/")
