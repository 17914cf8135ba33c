"""What the operator asks of the leader's agent, and under which paths (HTTP/1.1, JSON, signed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ftjob_protocol import Word
from ftjob_protocol.values.digits import whole

HEALTH = "/healthz"
PROGRESS = "/v1/progress"
START = "/v1/start"
END = "/v1/end"
SERVERS = "/v1/servers"
"""For agents: where each agent's first rank serves, in rank order."""
LONGEST_WAIT_SECONDS = 86_400


def agent_path(role: str, index: int) -> str:
    """Return where an agent posts its report."""
    return f"/v1/agents/{role}/{index}"


def read_agent_path(path: str) -> Optional[tuple[str, int]]:
    """Return role and index of the agent that posts its report there; None if it is another path."""
    parts = path.strip("/").split("/")
    index = whole(parts[3], 7) if parts[:2] == ["v1", "agents"] and len(parts) == 4 else None
    return None if index is None else (parts[2], index)


def progress_query(version: int, wait: float) -> str:
    """Return the path that is answered when there is news beside this version, or after so many seconds."""
    return f"{PROGRESS}?version={version}&wait={wait:g}"


class OrderKind(Word):
    """What becomes of ranks that are dead."""

    START = "start"
    END = "end"


@dataclass(frozen=True)
class Order:
    """What the agents are told whose ranks are dead; to say it again changes nothing."""

    command: OrderKind
    attempt: int
    wait_seconds: float = 0.0
    """Of a start: so long the ranks wait."""

    @property
    def path(self) -> str:
        """Where it is posted."""
        return START if self.command == OrderKind.START else END

    def as_json(self) -> dict[str, Any]:
        """Return its body."""
        return {"attempt": self.attempt, "waitSeconds": self.wait_seconds}

    @classmethod
    def read(cls, path: str, body: Mapping[str, Any]) -> Order:
        """Read an order.

        Raises
        ------
        ValueError
            It says what can't be.
        """
        attempt, seconds = body.get("attempt"), body.get("waitSeconds", 0)
        if not isinstance(attempt, int) or isinstance(attempt, bool):
            raise ValueError("attempt is not a whole number")  # noqa: TRY004  one error for all that is wrong
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds < LONGEST_WAIT_SECONDS:
            raise ValueError("waitSeconds is not a time of less than a day")
        return cls(OrderKind.START if path == START else OrderKind.END, attempt, seconds)
