"""The termination message: the last word of an agent, as the kubelet keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ftjob_protocol import VERSION
from ftjob_protocol.failures import Failure, whole_number

LIMIT = 4096
"""Bytes that the kubelet keeps."""


@dataclass(frozen=True)
class TerminationMessage:
    """What one agent says at its end."""

    attempt: int
    state: str
    failure: Optional[Failure] = None
    progress: Optional[dict[str, Any]] = None
    captures: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """The ranks of this agent that have finished a capture, by its id."""
    notes: Sequence[str] = ()
    role: str = ""
    index: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the form in which it is written."""
        return {
            "version": VERSION,
            "attempt": self.attempt,
            "role": self.role,
            "index": self.index,
            "state": self.state,
            "failure": self.failure.as_json() if self.failure else None,
            "progress": self.progress,
            "captures": {capture: list(ranks) for capture, ranks in self.captures.items()},
            "notes": list(self.notes),
        }


def parse_termination_message(text: str) -> Optional[TerminationMessage]:
    """Read a termination message; None when it is not the agent's (the user's image may write its own)."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.get("version") != VERSION or "state" not in data:
        return None
    progress, captures, notes = (data.get(key) for key in ("progress", "captures", "notes"))
    return TerminationMessage(
        attempt=whole_number(data.get("attempt")) or 0,
        state=str(data["state"]),
        failure=Failure.from_json(data.get("failure")),
        progress=progress if isinstance(progress, dict) else None,
        captures={
            str(key): tuple(rank for rank in ranks if isinstance(rank, int))
            for key, ranks in (captures.items() if isinstance(captures, dict) else ())
            if isinstance(ranks, list)
        },
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
        role=str(data.get("role") or ""),
        index=whole_number(data.get("index")) or 0,
    )
