"""What the leader's agent says of the whole job: the answer to every request of the operator."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ftjob_protocol.failures import Failure


@dataclass(frozen=True)
class LeaderState:
    """How a job is, as its leader sees it."""

    attempt: int
    state: str
    progress: Optional[dict[str, Any]]
    captures: Sequence[Mapping[str, Any]] = ()
    """Of each ``id`` the ``ranks`` that have finished it, of so many that are ``expected``."""
    notes: Sequence[str] = ()
    watchdog: str = ""
    """Why the watchdog can't tell a hang, or not yet."""
    failure: Optional[Failure] = None
    """The first failing rank."""
    ordered: int = 0
    """The last attempt that it was told to start."""
    version: int = field(default=0, compare=False)
    """Of what is worth waking the operator for."""
    ranks: Mapping[str, int] = field(default_factory=dict, compare=False)
    """How many there are in each state, and in total."""

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is told."""
        return {
            "version": self.version,
            "attempt": self.attempt,
            "ordered": self.ordered,
            "state": self.state,
            "ranks": dict(self.ranks),
            "progress": self.progress,
            "failure": self.failure.as_json() if self.failure else None,
            "watchdog": self.watchdog,
            "captures": [dict(capture) for capture in self.captures],
            "notes": list(self.notes),
        }

    @classmethod
    def read(cls, data: Any) -> LeaderState:
        """Read that form.

        Raises
        ------
        ValueError
            It is not such a report.
        """
        if not isinstance(data, dict) or not isinstance(data.get("attempt"), int):
            raise ValueError("not a report")  # noqa: TRY004  one error for all that an agent can say wrong
        progress, captures, notes, ranks = (data.get(k) for k in ("progress", "captures", "notes", "ranks"))
        ordered, version = (
            number if isinstance(number, int) else 0 for number in map(data.get, ("ordered", "version"))
        )
        return cls(
            attempt=data["attempt"],
            state=str(data.get("state", "")),
            progress=_finite(progress) if isinstance(progress, dict) else None,
            captures=tuple(c for c in captures if isinstance(c, dict)) if isinstance(captures, list) else (),
            notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
            watchdog=str(data.get("watchdog") or ""),
            failure=Failure.from_json(data.get("failure")),
            ordered=ordered,
            version=version,
            ranks={str(k): n for k, n in ranks.items() if isinstance(n, int)}
            if isinstance(ranks, dict)
            else {},
        )


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out numbers that JSON has no word for; one of them would make every patch a 400."""
    return {
        key: _finite(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }
