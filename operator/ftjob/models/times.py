"""Times as status holds them: RFC 3339 in UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Write a Unix time."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix(stamp: str) -> float:
    """Read what `rfc3339` writes."""
    return datetime.fromisoformat(stamp).timestamp()
