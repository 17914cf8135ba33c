"""How far a rank is, as somebody else has written it: numbers that the API can hold, and bounded names."""

from __future__ import annotations

from typing import Any, Optional

from ftjob_protocol.values.fields import count, finite
from ftjob_protocol.values.text import clean

METRICS_MAX = 32
METRIC_BYTES = 63

SHARES = ("input", "blocked", "pauses")
"""Of the time since the first step: waiting for data, waiting for other ranks, between steps."""

_NUMBERS = {
    "step": count,
    "totalSteps": count,
    "timeNs": count,
    "firstNs": count,
    "epoch": finite,
    "stepSeconds": finite,
}


def read_progress(data: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    """Return what can be understood of it. A script chooses the numbers, so that a bad one is left out."""
    if data is None:
        return None
    found: dict[str, Any] = {
        key: number for key, read in _NUMBERS.items() if (number := read(data.get(key))) is not None
    }
    metrics = read_metrics(data.get("metrics"))
    return {**found, "metrics": metrics} if metrics else found


def read_metrics(data: Any) -> dict[str, float]:
    """Return numbers by name, as many as a status may hold."""
    found: dict[str, float] = {}
    for name, value in data.items() if isinstance(data, dict) else ():
        if len(found) == METRICS_MAX:
            break
        number, shown = finite(value), clean(str(name), METRIC_BYTES)
        if number is not None and shown:
            found[shown] = number
    return found


def read_shares(data: Any) -> dict[str, float]:
    """Return shares of the time of stepping, from 0 to 1; a bad one is left out."""
    found = {name: finite(data.get(name)) for name in SHARES} if isinstance(data, dict) else {}
    return {name: share for name, share in found.items() if share is not None and 0 <= share <= 1}
