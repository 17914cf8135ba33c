"""Reading termination messages: the agent's, and whatever else a user's image may write."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, agent_message

from ftjob_protocol.failures import Failure
from ftjob_protocol.states import State
from ftjob_protocol.termination import parse_termination_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rank", "timeNs", "class", "exitCode", "s0"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_the_agents_message_is_read() -> None:
    read = parse_termination_message(agent_message(rank=3, kind="Signal", exit_code=137, text="killed"))
    assert read is not None
    assert read.failure is not None
    assert (read.state, read.failure.rank, read.failure.failure_class) == ("Failed", 3, "Signal")
    assert (read.failure.exit_code, read.failure.message) == (137, "killed")
    assert read.failure.time_ns == int(NOW * 1e9)


def test_a_log_tail_is_bounded_whatever_the_agent_says() -> None:
    read = Failure.from_json({"class": "Exit", "logTail": "\n" + "\n".join(["漢\x07" * 500] * 30)})
    assert read is not None
    tail = read.log_tail
    assert 2000 < len(tail.encode()) <= 2048
    assert set(tail) <= {"漢", "\n"}


def test_captures_are_read() -> None:
    text = json.dumps(
        {"version": 1, "state": "Succeeded", "captures": {"s0": "0-1,5"}, "notes": ["no torch"]}
    )
    read = parse_termination_message(text)
    assert read is not None
    assert (read.captures, read.failure) == ({"s0": (range(2), range(5, 6))}, None)


@pytest.mark.parametrize(
    "text",
    ["", "Killed", "[]", "null", "7", "{", '{"state": "Failed"}', '{"version": 2, "state": "Failed"}',
     '{"version": 1}', '{"version": 1, "state": "Odd"}', '{"version": 1, "state": "Failed", "attempt": "0"}',
     '{"version": 1, "state": "Failed", "captures": {"s0": [0]}}',
     json.dumps({"version": 1, "state": "Failed", "notes": ["x" * 4096]}),
     "[" * 4096, "9" * 4096, '{"a":' * 800],
    ids=["nothing", "text", "a list", "null", "a number", "half a message", "no version", "another version",
         "no state", "no known state", "another type", "no ranges", "more than a kubelet keeps",
         "deep lists", "a long number", "deep objects"],
)  # fmt: skip
def test_what_is_not_the_agents_is_nothing(text: str) -> None:
    assert parse_termination_message(text) is None


@given(
    st.fixed_dictionaries(
        {"version": st.just(1), "state": st.sampled_from(State)},
        optional=dict.fromkeys(("attempt", "failure", "progress", "captures", "notes"), JSON),
    )
)
def test_no_message_breaks_the_reader(message: dict[str, Any]) -> None:
    read = parse_termination_message(json.dumps(message))
    assert read is None or read.state == message["state"]
