"""Reading the files that a rank left: regular files alone, and a bounded number of bytes."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

from ftjob.insight.raw.trace import BrokenTraceError

if TYPE_CHECKING:
    from ftjob_protocol.files.nofollow import Folder

LIMIT = 256 << 20
_CHUNK = 1 << 20


def read(folder: Folder, name: str, limit: int = LIMIT) -> bytearray:
    """Return a file of a folder, unpacked if its name ends in ``.gz``.

    Raises
    ------
    BrokenTraceError
        It is missing, larger than `limit` once unpacked, or cut off.
    """
    try:
        with os.fdopen(folder.open(name), "rb", buffering=0) as file:
            packed = name.endswith(".gz")
            return _unpack(file.fileno(), limit) if packed else _plain(file.fileno(), limit)
    except FileNotFoundError:
        raise BrokenTraceError("a file that done.json names is missing") from None
    except OSError as error:
        raise BrokenTraceError(f"a file can't be read: {error.strerror or error}") from None


def _plain(file: int, limit: int) -> bytearray:
    data = bytearray()
    while chunk := os.read(file, _CHUNK):
        data += chunk
        _check(data, limit)
    return data


def _unpack(file: int, limit: int) -> bytearray:
    data, member = bytearray(), zlib.decompressobj(31)
    begun = False
    while chunk := os.read(file, _CHUNK):
        while chunk:
            begun = True
            try:
                data += member.decompress(chunk, limit + 1 - len(data))
            except zlib.error:
                raise BrokenTraceError("it is no gzip file, or a damaged one") from None
            _check(data, limit)
            chunk = member.unused_data or member.unconsumed_tail
            if member.eof:
                member, begun = zlib.decompressobj(31), False
    if begun or not data:
        raise BrokenTraceError("gzip ends early")
    return data


def _check(data: bytearray, limit: int) -> None:
    if len(data) > limit:
        raise BrokenTraceError(f"a file has more than {limit >> 20} MiB unpacked; capture fewer steps")
