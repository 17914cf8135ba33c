"""JSON from the API server, which stores objects that no common decoder reads.

Kubernetes takes 10,000 levels of nesting (sigs.k8s.io/json), orjson 1,024. What lies deeper than that in one
object may not hide the others of a list: it is cut away, and the rest is read.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson

LEVELS = 900
"""So many are read; far more than any object has a use for."""

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


async def decode(raw: bytes) -> Any:
    """Read JSON; what is nested deeper than 900 levels becomes null.

    Raises
    ------
    ValueError
        It is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if raw.count(b"{") + raw.count(b"[") <= LEVELS:
            raise
    # In a thread: a megabyte of brackets takes a second.
    return orjson.loads(await asyncio.to_thread(cut, raw))


def cut(raw: bytes) -> bytes:
    """Return JSON with null in place of what is nested deeper than 900 levels."""
    kept, end, level, start = list[bytes](), 0, 0, 0
    for found in _STRING_OR_BRACKET.finditer(raw):
        mark = raw[found.start()]
        if mark in b"[{":
            level += 1
            if level == LEVELS + 1:
                start = found.start()
        elif mark in b"]}":
            if level == LEVELS + 1:
                kept += [raw[end:start], b"null"]
                end = found.end()
            level -= 1
    return b"".join([*kept, raw[end:]])
