"""The agent's termination message, as the operator reads it (docs/agent-protocol.md, section 5)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

INTEGER_LIMIT = 2**63
LOG_LINES = 20
LOG_BYTES = 2048
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class RankFailure:
    """One rank's failure as its agent recorded it."""

    rank: int | None
    time_ns: int
    kind: str
    """Exception, Exit, Signal, PeerLost, Stopped or Config."""
    type: str
    exit_code: int | None
    message: str
    log_tail: str = ""


@dataclass(frozen=True)
class TerminationMessage:
    """What one agent said at its end."""

    attempt: int
    state: str
    failure: RankFailure | None = None
    progress: dict[str, Any] | None = None
    captures: dict[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def parse_termination_message(text: str) -> TerminationMessage | None:
    """Read a termination message; None when it is not the agent's (the user's image may write its own)."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.get("version") != 1 or "state" not in data:
        return None
    progress = data.get("progress")
    captures = data.get("captures")
    notes = data.get("notes")
    return TerminationMessage(
        attempt=_integer(data.get("attempt")) or 0,
        state=str(data["state"]),
        failure=parse_failure(data.get("failure")),
        progress=progress if isinstance(progress, dict) else None,
        captures={
            str(key): tuple(r for r in ranks if isinstance(r, int))
            for key, ranks in (captures.items() if isinstance(captures, dict) else ())
            if isinstance(ranks, list)
        },
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
    )


def last_lines(text: str) -> str:
    """Return the end of a log as a status can hold it: so many lines and bytes, no control characters."""
    lines = CONTROL.sub("", text).strip("\n").split("\n")[-LOG_LINES:]
    return "\n".join(lines).encode(errors="replace")[-LOG_BYTES:].decode(errors="ignore")


def parse_failure(raw: object) -> RankFailure | None:
    """Read a rank's failure; None when there is none."""
    if not isinstance(raw, dict):
        return None
    return RankFailure(
        rank=_integer(raw.get("rank")),
        time_ns=_integer(raw.get("timeNs")) or 0,
        kind=str(raw.get("class", "Exit")),
        type=str(raw.get("type", "") or ""),
        exit_code=_integer(raw.get("exitCode")),
        message=str(raw.get("message", "") or ""),
        log_tail=last_lines(str(raw.get("logTail", "") or "")),
    )


def _integer(value: object) -> int | None:
    """Return a whole number that the API can hold (64 bits), or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if abs(value) < INTEGER_LIMIT else None
