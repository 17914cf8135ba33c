"""The termination message: at most 4096 bytes of JSON, whatever there is to say."""

from __future__ import annotations

import json
import os
from typing import Any

from ftjob_protocol.files import nofollow
from ftjob_protocol.termination import LIMIT, TerminationMessage

TEXT_AT_LEAST = 1536
LOG_CUTS = 5  # halves of twenty lines, until nothing is left


def encode(message: dict[str, Any]) -> bytes:
    """Return the message, cut to fit: notes, captures, metrics, log lines, then the traceback's head."""
    message = json.loads(_dump(message))
    text = (message.get("failure") or {}).get("message", "")
    for shorten in (_few_notes, _no_captures, _no_metrics, *[_half_the_log] * LOG_CUTS):
        if len(_dump(_with(message, text[-TEXT_AT_LEAST:]))) <= LIMIT:
            break
        shorten(message)
    low, high = 0, len(text)
    while low < high:  # the longest tail that fits
        middle = (low + high + 1) // 2
        if len(_dump(_with(message, text[-middle:]))) <= LIMIT:
            low = middle
        else:
            high = middle - 1
    return _dump(_with(message, text[len(text) - low :]))


def write(path: str, message: TerminationMessage) -> None:
    """Write the message; the file is a mount of its own, so it is not replaced but filled."""
    data = encode(message.as_json())
    try:
        file = nofollow.open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            nofollow.write_all(file, data)
        finally:
            os.close(file)
    except OSError:
        pass  # nobody to tell


def _dump(message: dict[str, Any]) -> bytes:
    # Half a surrogate pair in a traceback is not UTF-8.
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _with(message: dict[str, Any], text: str) -> dict[str, Any]:
    failure = message.get("failure")
    return {**message, "failure": {**failure, "message": text}} if failure else message


def _few_notes(message: dict[str, Any]) -> None:
    message["notes"] = [note[:200] for note in message.get("notes", [])[:3]]


def _no_captures(message: dict[str, Any]) -> None:
    message["captures"] = {}


def _half_the_log(message: dict[str, Any]) -> None:
    found = message.get("failure")
    if found:
        lines = str(found.get("logTail") or "").split("\n")
        found["logTail"] = "\n".join(lines[(len(lines) + 1) // 2 :])


def _no_metrics(message: dict[str, Any]) -> None:
    message["progress"] = {
        key: value for key, value in (message.get("progress") or {}).items() if key != "metrics"
    }
