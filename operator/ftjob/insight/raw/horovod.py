"""Horovod's timeline: what its coordinator, rank 0, did with each tensor. It says nothing of single ranks."""

from __future__ import annotations

from typing import Any

import msgspec

from ftjob.insight.raw.trace import BrokenTraceError

FILE = "horovod_timeline.json"


class Event(msgspec.Struct, gc=False):
    """One event; B and E have no name at their end."""

    ph: str = ""
    name: str = ""
    ts: float = 0
    dur: float = 0
    pid: int = 0
    tid: int = 0
    args: Any = None


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(Event)


def read(data: bytes | bytearray) -> list[Event]:
    """Return the events; of a file that Horovod did not end, those that are whole.

    Raises
    ------
    BrokenTraceError
        It is no timeline.
    """
    text = bytes(data).rstrip().rstrip(b",")
    if not text.endswith(b"]"):
        text = text[: text.rfind(b"\n")].rstrip().rstrip(b",") + b"]" if b"\n" in text else text + b"]"
    try:
        raws = _raws.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BrokenTraceError("Horovod's timeline is no JSON") from None
    found = []
    for raw in raws:
        try:
            event = _event.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if 0 <= event.ts < 1e16 and 0 <= event.dur < 1e11:
            found.append(event)
    return found
