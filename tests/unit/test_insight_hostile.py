"""Traces that somebody has damaged: a reader says so, or reads what is left; nothing else ever happens."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.traces import Planned, torch_trace

from ftjob.insight.collect.figures import figures
from ftjob.insight.raw import chrome, horovod, xplane
from ftjob.insight.raw.trace import BrokenTraceError

if TYPE_CHECKING:
    from collections.abc import Callable

TRACES = Path(__file__).parents[1] / "corpus" / "traces"
INPUTS = int(os.environ.get("FTJOB_FUZZ_TRACES", "100"))
PLANNED = gzip.decompress(torch_trace(Planned(operators=4, steps=2), 0))


def originals() -> dict[str, tuple[Callable[[bytes], object], bytes]]:
    found: dict[str, tuple[Callable[[bytes], object], bytes]] = {"planned": (read_chrome, PLANNED)}
    for path in sorted(TRACES.rglob("*.*")):
        data = path.read_bytes()
        if path.name.endswith(".json.gz"):
            found[path.parents[1].name + path.name[:10]] = (read_chrome, gzip.decompress(data))
        elif path.name.endswith(".xplane.pb"):
            found[path.parents[1].name + path.name[:10]] = (read_xplane, data)
        elif path.name == horovod.FILE:
            found[path.parents[1].name + "timeline"] = (horovod.read, data)
    return found


def read_chrome(data: bytes) -> object:
    return figures(chrome.read(data), 0, is_alone=False)


def read_xplane(data: bytes) -> object:
    return figures(xplane.read(data), 0, is_alone=False)


ORIGINALS = originals()


def harmless(read: Callable[[bytes], object], data: bytes) -> None:
    with suppress(BrokenTraceError):
        read(data)


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_trace_that_is_cut_anywhere_is_broken_or_read(name: str) -> None:
    read, data = ORIGINALS[name]
    read(data)
    for part in range(64):
        harmless(read, data[: len(data) * part // 64])


@settings(max_examples=INPUTS)
@given(
    st.sampled_from(sorted(ORIGINALS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=24)), min_size=1, max_size=6),
)
def test_a_trace_with_any_bytes_in_it_is_broken_or_read(
    name: str, changes: list[tuple[float, int, bytes]]
) -> None:
    read, data = ORIGINALS[name]
    for place, removed, added in changes:
        at = int(place * len(data))
        data = data[:at] + added + data[at + removed :]
    harmless(read, data)


NUMBERS = st.sampled_from(
    ["-1", "0", "1e308", "-1e308", "9" * 400, "null", '"x"', "[]", "{}", "true", "1e-320"]
)


@settings(max_examples=INPUTS)
@given(st.sampled_from(["ts", "dur", "pid", "tid", "name", "cat", "ph", "args"]), NUMBERS, st.integers(0, 30))
def test_a_trace_with_any_value_in_a_field_is_broken_or_read(field: str, value: str, which: int) -> None:
    parts = PLANNED.split(f'"{field}": '.encode())
    which %= len(parts)
    if which:
        parts[which] = value.encode() + b', "was": ' + parts[which]
    harmless(read_chrome, f'"{field}": '.encode().join(parts))
