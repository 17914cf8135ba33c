"""The termination message: the last word of an agent, as the kubelet keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from ftjob_protocol import VERSION
from ftjob_protocol.captures import read_done
from ftjob_protocol.failures import Failure
from ftjob_protocol.states import State
from ftjob_protocol.values.fields import Fields
from ftjob_protocol.values.progress import read_progress
from ftjob_protocol.values.ranges import format_ranges

LIMIT = 4096
"""Bytes that the kubelet keeps."""
NAME_BYTES = 63
WARNING_BYTES = 512
NOTES_MAX = 8
NOTE_BYTES = 200


@dataclass(frozen=True)
class TerminationMessage:
    """What one agent says at its end."""

    attempt: int
    state: str
    failure: Optional[Failure] = None
    progress: Optional[dict[str, Any]] = None
    captures: Mapping[str, Sequence[range]] = field(default_factory=dict)
    """The ranks of this agent that have finished a capture, by its id."""
    notes: Sequence[str] = ()
    warning: str = ""
    """What somebody should know of a success."""
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
            "captures": {capture: format_ranges(ranks) for capture, ranks in self.captures.items()},
            "notes": list(self.notes),
            **({"warning": self.warning} if self.warning else {}),
        }


def parse_termination_message(text: str) -> Optional[TerminationMessage]:
    """Read a termination message; None when it is not the agent's (the user's image may write its own)."""
    if len(text) > LIMIT:
        return None
    try:
        return _read(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _read(data: Any) -> TerminationMessage:
    fields = Fields(data, "message")
    if fields.whole("version") != VERSION:
        raise ValueError("not a message of this version")
    return TerminationMessage(
        attempt=fields.whole("attempt") or 0,
        state=fields.one_of("state", State),
        failure=Failure.from_json(fields.inner("failure")),
        progress=read_progress(fields.inner("progress")),
        captures=read_done(fields.inner("captures") or {}),
        warning=fields.text("warning", WARNING_BYTES),
        notes=fields.texts("notes", NOTE_BYTES, most=NOTES_MAX),
        role=fields.text("role", NAME_BYTES),
        index=fields.whole("index") or 0,
    )
