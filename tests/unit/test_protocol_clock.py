"""`clock.bin` and `where.json` as a rank leaves them, and as a stranger might."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftjob_protocol.vitals import clock, where
from ftjob_protocol.vitals.clock import CAPACITY, StepRecord
from ftjob_protocol.vitals.where import Doing, Line, Where

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = 1_700_000_000 * 10**9


def record(number: int) -> StepRecord:
    return StepRecord(BEGAN + number, number + 1, 1000, 100, 700, 300, 2, 0)


def header(head: int, *, magic: bytes = clock.MAGIC, version: int = 1, began: int = BEGAN) -> bytes:
    return clock.HEADER.pack(magic, version, CAPACITY, head, began)


def ring(head: int) -> bytes:
    slots = [bytes(clock.RECORD.size)] * CAPACITY
    for number in range(head):
        slots[number % CAPACITY] = clock.RECORD.pack(*record(number))
    return header(head) + b"".join(slots)


def numbers(found: clock.Clock | None) -> list[int]:
    assert found is not None
    return [entry.step - 1 for entry in found.records]


@pytest.mark.parametrize(
    ("head", "after", "expected"),
    [
        (0, 0, range(0)),
        (1, 0, range(1)),
        (5, 3, range(3, 5)),
        (5, 5, range(0)),
        (CAPACITY - 1, 0, range(CAPACITY - 1)),
        # The oldest record's place is the next one to be written, so it may be torn.
        (CAPACITY, 0, range(1, CAPACITY)),
        (CAPACITY + 1, 0, range(2, CAPACITY + 1)),
        (5 * CAPACITY + 7, 5 * CAPACITY, range(5 * CAPACITY, 5 * CAPACITY + 7)),
        (5 * CAPACITY + 7, 0, range(4 * CAPACITY + 8, 5 * CAPACITY + 7)),
        # Another process has begun anew.
        (3, 900, range(3)),
    ],
)
def test_the_records_after_a_head_are_read(tmp_path: Path, head: int, after: int, expected: range) -> None:
    path = tmp_path / "clock.bin"
    path.write_bytes(ring(head))
    found = clock.read(str(path), after)
    assert numbers(found) == list(expected)
    assert found is not None
    assert (found.head, found.began_ns) == (head, BEGAN)
    assert found.records == tuple(record(number) for number in expected)


@pytest.mark.parametrize("written", [0, 1, 5, CAPACITY - 1, CAPACITY, 3 * CAPACITY])
def test_what_was_written_over_while_it_was_read_is_left_out(written: int) -> None:
    head = 2 * CAPACITY
    data = bytearray(ring(head))
    for number in range(head, head + written + 1):  # the last of them is only half written
        offset = clock.HEADER.size + number % CAPACITY * clock.RECORD.size
        data[offset : offset + clock.RECORD.size] = b"\0" * 32
    found = clock.parse(bytes(data), header(head + written), 0)
    assert numbers(found) == list(range(head + written + 1 - CAPACITY, head))


def test_a_file_that_is_begun_anew_while_it_is_read_says_nothing() -> None:
    assert clock.parse(ring(5), header(0, began=BEGAN + 1), 0) is None
    assert clock.parse(ring(5), header(6, began=BEGAN + 1), 0) is None


def test_the_last_records_are_those_of_a_dead_rank(tmp_path: Path) -> None:
    path = tmp_path / "clock.bin"
    path.write_bytes(ring(100))
    assert clock.last(str(path)) == tuple(record(number) for number in range(36, 100))
    assert clock.last(str(path), 2) == (record(98), record(99))
    assert clock.last(str(path), 0) == ()
    assert clock.last(str(tmp_path / "none")) == ()


@pytest.mark.parametrize(
    "data",
    [b"", b"x", ring(3)[:-1], header(1), header(1, magic=b"FTJCLK02") + ring(1)[64:], b"\0" * clock.SIZE],
)
def test_what_is_no_clock_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "clock.bin"
    path.write_bytes(data)
    assert clock.read(str(path)) is None


@given(st.binary(min_size=48, max_size=48), st.integers(0, 2**64 - 1), st.integers(0, 2**63))
def test_any_bytes_behind_the_magic_are_read_without_harm(data: bytes, head: int, after: int) -> None:
    whole = header(head) + (data * CAPACITY)[: clock.SIZE - 64]
    found = clock.parse(whole, whole[:64], after)
    assert found is not None
    assert len(found.records) < CAPACITY
    assert all(entry.own_us + entry.blocked_us <= entry.step_us for entry in found.records)


def test_a_link_is_not_followed_and_a_fifo_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(ring(3))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "none"):
        assert clock.read(str(tmp_path / name)) is None
        assert where.read(str(tmp_path / name)) is None


def test_what_was_not_seen_is_none() -> None:
    known = record(0)
    assert (known.step_ms, known.input_ms, known.own_ms, known.blocked_ms) == (1.0, 0.1, 0.7, 0.3)
    unknown = known._replace(flags=clock.BLOCKED_UNKNOWN | clock.INPUT_UNKNOWN)
    assert (unknown.step_ms, unknown.input_ms, unknown.own_ms, unknown.blocked_ms) == (1.0, None, None, None)


WHERE = Where(200, (Line("train.py:57 load", Doing.INPUT, 0.5), Line("train.py:60 main", Doing.STEP, 0.25)))


def test_lines_come_back(tmp_path: Path) -> None:
    path = tmp_path / "where.json"
    path.write_text(json.dumps(WHERE.as_json()))
    assert path.read_text() == (
        '{"samples": 200, "lines": [["train.py:57 load", "input", 0.5], ["train.py:60 main", "step", 0.25]]}'
    )
    assert where.read(str(path)) == WHERE


@pytest.mark.parametrize(
    "said",
    [
        [],
        {"lines": []},
        {"samples": -1, "lines": []},
        {"samples": True, "lines": []},
        {"samples": 1e9, "lines": []},
        {"samples": 1, "lines": {}},
        {"samples": 1, "lines": [["a", "input", 0.1]] * 21},
        {"samples": 1, "lines": [["a", "input"]]},
        {"samples": 1, "lines": [["a", "input", 1.5]]},
        {"samples": 1, "lines": [["a", "input", float("nan")]]},
        {"samples": 1, "lines": [["a", "input", 10**400]]},
        {"samples": 1, "lines": [["a", "input", True]]},
        {"samples": 1, "lines": [["a", 1, 0.5]]},
        {"samples": 1, "lines": [["\x1b[31m", "input", 0.5]]},
    ],
)
def test_what_is_not_as_it_should_be_is_none(said: Any) -> None:
    assert where.parse(json.dumps(said).encode()) is None


def test_a_line_is_shown_as_a_person_would_see_it() -> None:
    said = {"samples": 1, "lines": [["\x1b[31mtrain.py:1 f\n" + "x" * 500, "mischief", 1]]}
    found = where.parse(json.dumps(said).encode())
    assert found is not None
    (line,) = found.lines
    assert line.text.startswith("train.py:1 f")
    assert "\n" not in line.text
    assert (len(line.text.encode()), line.doing, line.share) == (where.LINE_BYTES, Doing.OTHER, 1.0)


def test_a_file_that_is_too_long_is_none(tmp_path: Path) -> None:
    path = tmp_path / "where.json"
    path.write_text(json.dumps(WHERE.as_json()) + " " * where.READ_LIMIT)
    assert where.read(str(path)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_harm(data: bytes) -> None:
    where.parse(data)
