"""One rank of a capture: its files, and which reader reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ftjob.insight.raw import chrome, xplane
from ftjob.insight.raw.trace import BrokenTraceError
from ftjob.insight.raw.unpack import read
from ftjob_protocol import files
from ftjob_protocol.captures import Done

if TYPE_CHECKING:
    from ftjob.insight.raw.trace import Trace
    from ftjob_protocol.files.nofollow import Folder

_DONE_LIMIT = 1 << 16
CHROME = (".pt.trace.json", ".pt.trace.json.gz")
XPLANE = (".xplane.pb",)


def done(folder: Folder) -> Done | None:
    """Return what the rank says of its capture; None if it has not finished one.

    Raises
    ------
    BrokenTraceError
        It says nothing that can be read.
    """
    try:
        data = json.loads(folder.read(files.DONE, _DONE_LIMIT))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        raise BrokenTraceError("its done.json is damaged") from None
    said = Done.read(data) if isinstance(data, dict) else None
    if said is None:
        raise BrokenTraceError("its done.json is damaged")
    return said


def trace_file(said: Done) -> str:
    """Return the name of the file with the trace.

    Raises
    ------
    BrokenTraceError
        There is none that this version knows.
    """
    for name in said.files:
        if name.endswith((*CHROME, *XPLANE)):
            return name
    raise BrokenTraceError("no trace of torch, TensorFlow or JAX is among its files")


def trace(folder: Folder, said: Done) -> Trace:
    """Read the trace.

    Raises
    ------
    BrokenTraceError
        It can't be read; the message says why.
    """
    name = trace_file(said)
    data = read(folder, name)
    try:
        return chrome.read(data) if name.endswith(CHROME) else xplane.read(data)
    except MemoryError:
        raise BrokenTraceError(
            "reading it takes more memory than the collector has; capture fewer steps"
        ) from None
