"""What the leader's agent says of the whole job, as it is read (docs/agent-protocol.md, section 4)."""

from __future__ import annotations

import math
from typing import Any

from ftjob.plan.observed.state import LeaderReport
from ftjob.plan.observed.termination_message import parse_failure


def read_report(data: Any) -> LeaderReport:
    """Read the answer to ``GET /v1/progress``.

    Raises
    ------
    ValueError
        It is not such an answer.
    """
    if not isinstance(data, dict) or not isinstance(data.get("attempt"), int):
        raise ValueError("not a report")  # noqa: TRY004  one error for all that an agent can say wrong
    progress, captures, notes = (data.get(key) for key in ("progress", "captures", "notes"))
    ordered, version = (
        number if isinstance(number, int) else 0 for number in map(data.get, ("ordered", "version"))
    )
    return LeaderReport(
        attempt=data["attempt"],
        state=str(data.get("state", "")),
        progress=_finite(progress) if isinstance(progress, dict) else None,
        captures=tuple(c for c in captures if isinstance(c, dict)) if isinstance(captures, list) else (),
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
        watchdog=str(data.get("watchdog") or ""),
        failure=parse_failure(data.get("failure")),
        ordered=ordered,
        version=version,
    )


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out numbers that JSON has no word for; one of them would make every patch a 400."""
    return {
        key: _finite(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }
