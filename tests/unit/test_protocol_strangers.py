"""What a stranger may say in the place of an agent: read strictly, bounded, and fit to be shown."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftjob_protocol.failures import LOG_BYTES, MESSAGE_BYTES, Failure, FailureClass
from ftjob_protocol.leader_state import LIMIT, LeaderState
from ftjob_protocol.orders import read_agent_path
from ftjob_protocol.values.digits import whole
from ftjob_protocol.values.progress import METRICS_MAX
from ftjob_protocol.values.ranges import format_indexes, read_ranges
from ftjob_protocol.values.text import clean
from ftjob_protocol.vitals.verdict import Confidence, Finding, Verdict

ANSWER: dict[str, Any] = {"version": 1, "attempt": 0, "state": "Running"}
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bcreset", "reset"),
        ("\x1b\x1b[0m[31m", "[0m[31m"),
        ("half an escape \x1b", "half an escape"),
        ("\x9b31mC1", "31mC1"),
        ("a\x00b\x07c\x08d\re\x7f", "abcde"),
        (f"user{BIDI}name", "username"),
        ("one\u2028two\u2029three\ufeff", "onetwothree"),
        ("one\ttwo\nthree\n", "one two three"),
        ("half \ud83d of a character", "half  of a character"),
        ("seen" + "".join(chr(0xE0000 + ord(letter)) for letter in "unseen"), "seen"),
        ("漢字 عربى naïve 👩‍🔬", "漢字 عربى naïve 👩‍🔬"),
    ],
)
def test_text_is_what_a_person_would_see(text: str, shown: str) -> None:
    assert clean(text, 100) == shown


@pytest.mark.parametrize("text", ["", "²", "1²", "٣", "+1", "1_0", " 1", "1.0", "9" * 10, "9" * 5000])
def test_a_number_is_a_few_plain_digits(text: str) -> None:
    assert whole(text) is None
    assert read_agent_path(f"/v1/agents/worker/{text}") is None
    assert (whole("07"), whole("9" * 9), whole("9" * 12, 12)) == (7, 10**9 - 1, 10**12 - 1)


@given(st.text(), st.integers(3, 40), st.booleans(), st.booleans())
@example("0 \U00010000\U00010000\U00010000", 13, False, True)  # the cut leaves a space in front
def test_text_is_bounded_and_clean_and_stays_so(text: str, limit: int, lines: bool, end: bool) -> None:
    found = clean(text, limit, lines=lines, keep_end=end)
    assert len(found.encode()) <= limit
    controls = {letter for letter in found if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}}
    assert controls <= ({"\t", "\n"} if lines else set())
    assert not set(found) & set(BIDI)
    assert clean(found, limit, lines=lines, keep_end=end) == found


def test_a_traceback_keeps_its_end_and_a_sentence_its_beginning() -> None:
    assert clean("漢" * 10, 10) == "漢漢…"
    assert clean("漢" * 10 + "end", 10, keep_end=True) == "漢漢end"


@given(st.lists(st.integers(0, 40)))
def test_ranges_come_back(indexes: list[int]) -> None:
    read = read_ranges(format_indexes(indexes))
    assert [index for found in read for index in found] == sorted(set(indexes))


@pytest.mark.parametrize(
    "text", ["x", "-1", "1-", "3-1", "5,3", "1,2", "1-4,4-6", "0-9,0-9", "1,,2", "1\n", "٣", "9" * 10, " 1"]
)
def test_ranges_have_one_form(text: str) -> None:
    with pytest.raises(ValueError, match="not ranges"):
        read_ranges(text)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ([1], "answer"),
        ({"attempt": None}, "answer.attempt"),
        ({"attempt": "0"}, "answer.attempt"),
        ({"attempt": True}, "answer.attempt"),
        ({"attempt": -1}, "answer.attempt"),
        ({"attempt": 2**63}, "answer.attempt"),
        ({"ordered": 1.5}, "answer.ordered"),
        ({"state": 7}, "answer.state"),
        ({"state": "Odd"}, "answer.state"),
        ({"state": None}, "answer.state"),
        ({"progress": []}, "answer.progress"),
        ({"failure": "x"}, "answer.failure"),
        ({"failure": {"rank": "3"}}, "failure.rank"),
        ({"failure": {"exitCode": 256}}, "failure.exitCode"),
        ({"failure": {"message": ["x"]}}, "failure.message"),
        ({"watchdog": {}}, "answer.watchdog"),
        ({"captures": [{"id": "s0", "ranks": 5}]}, "answer.captures"),
        ({"captures": {"s0": 5}}, "ranks of a capture"),
        ({"captures": {"s0": [[1]]}}, "ranks of a capture"),
        ({"captures": {"s0": "0-9,0-9"}}, "not ranges"),
    ],
)
def test_an_answer_of_another_type_is_refused_by_name(said: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LeaderState.read({**ANSWER, **said} if isinstance(said, dict) else said)


def test_what_a_script_says_of_its_progress_is_left_out_where_it_is_no_number() -> None:
    progress = {
        "step": 1,
        "totalSteps": "ten",
        "epoch": float("inf"),
        "stepSeconds": 10**400,
        "metrics": {"loss": float("nan"), "\x1b[31mlr": 0.1, "": 1, "deep": {"a": 1}, "yes": True},
        "more": "x" * 10_000,
    }
    read = LeaderState.read({**ANSWER, "progress": progress})
    assert read.progress == {"step": 1, "metrics": {"lr": 0.1}}


def test_metrics_captures_and_texts_are_bounded() -> None:
    read = LeaderState.read(
        {
            **ANSWER,
            "progress": {"metrics": {f"{number:02d}" + "m" * 900: number for number in range(50)}},
            "captures": {**{f"x{number}": "0" for number in range(60_000)}, "s0": "0-3"},
            "failure": {
                "class": "x" * 4000,
                "type": "t" * 4000,
                "message": "m" * 9000,
                "logTail": "l\n" * 9000,
            },
            "watchdog": "w" * 9000,
        }
    )
    assert read.progress is not None
    assert read.failure is not None
    assert len(read.progress["metrics"]) == METRICS_MAX
    assert {len(name.encode()) for name in read.progress["metrics"]} == {63}
    assert read.captures == {"s0": (range(4),)}
    assert read.failure.failure_class is FailureClass.EXIT
    assert (len(read.failure.type.encode()), len(read.failure.message)) == (128, MESSAGE_BYTES)
    assert len(read.failure.log_tail) < LOG_BYTES
    assert len(read.watchdog.encode()) == 300


def largest_finding(letter: str) -> Finding:
    """Return a finding that is too large in each of its parts."""
    return Finding(
        "Straggler",
        letter * 900,
        Confidence.HIGH,
        1 / 3,
        [range(rank, rank + 1) for rank in range(0, 100_000, 2)],
        node=letter * 900,
        cause="Input",
        line=letter * 900,
        excess_ms=1e9 / 3,
        evidence=[letter * 900] * 9,
        next=letter * 900,
    )


def largest(letter: str) -> LeaderState:
    """Return a state that is too large in each of its parts."""
    every_second = [range(rank, rank + 1) for rank in range(0, 100_000, 2)]
    captures = {f"s{number}": [range(100_000)] for number in range(98)}
    return LeaderState(
        attempt=2**62,
        state="Running",
        progress={
            "step": 2**62,
            "metrics": {letter * 60 + f"{n:02d}": -1.2345678901234567e-300 for n in range(60)},
        },
        captures={**captures, "s98": every_second, "s99": every_second, "foreign": every_second},
        watchdog=letter * 9000,
        failure=Failure(
            FailureClass.EXCEPTION, letter * 9000, 2**20, 2**62, letter * 900, 255, f"{letter * 900}\n" * 90
        ),
        notes=[letter * 900] * 90,
        verdict=Verdict(letter * 900, "Straggler", 2**39, [largest_finding(letter)] * 9),
    )


@pytest.mark.parametrize("letter", ['"', "\\", "é", "漢", "😀", "\x1b"])
def test_the_leader_tells_no_more_than_fits_and_first_which_captures_are_done(letter: str) -> None:
    said = json.dumps(largest(letter).as_json()).encode()  # as the leader's server writes it
    assert len(said) < LIMIT
    read = LeaderState.read(json.loads(said))
    assert {name: read.captures[name] for name in ("s0", "s97")} == dict.fromkeys(
        ("s0", "s97"), (range(100_000),)
    )
    assert set(read.captures) == {f"s{number}" for number in range(100)}
    assert all(set(found) <= set(range(0, 100_000, 2)) for found in read.captures["s99"])


def test_two_thousand_ranks_with_a_hundred_captures_fit() -> None:
    captures = {f"s{number}": [range(2000)] for number in range(100)}
    state = LeaderState(0, "Running", {"step": 1}, captures=captures)
    assert len(json.dumps(state.as_json())) < 4096
    assert LeaderState.read(state.as_json()).captures == {name: (range(2000),) for name in captures}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([field.name for field in dataclasses.fields(LeaderState)]),
    JSON,
    st.sampled_from(["", "rank", "class", "s0", "metrics"]),
)
def test_an_answer_is_read_or_refused(field: str, value: Any, inside: str) -> None:
    said = {**ANSWER, field: {inside: value} if inside else value}
    try:
        read = LeaderState.read(said)
    except ValueError:
        return
    assert LeaderState.read(json.loads(json.dumps(read.as_json()))) == read
