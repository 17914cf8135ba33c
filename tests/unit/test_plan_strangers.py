"""Whatever agents say, the status is one that the API server accepts, and what it costs has a bound."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.builders import NOW, decide, job, observed, pod

from ftjob.api.crd import build_crd
from ftjob.plan.observed.pod import Terminated
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.failures import FailureClass
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.states import State
from ftjob_protocol.termination import parse_termination_message

if TYPE_CHECKING:
    from ftjob.models.status import JobStatus

PROFILED = (
    job()
    .workers(2)
    .processes(2)
    .strategy("Torchrun")
    .with_spec(
        outputs={},
        profiling={"mode": "Scheduled", "schedule": {"repeat": 3}},
        restart={"limit": 3},
        watchdog={"hangSeconds": 60},
    )
    .running()
)
RUNNING: dict[str, Any] = {"attempt": 0, "state": "Running"}
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def status_schema() -> dict[str, Any]:
    [version] = build_crd()["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"]["properties"]["status"])


SCHEMA = jsonschema.Draft7Validator(status_schema())


def check(status: JobStatus) -> None:
    """Fail if the API server would not accept the status, or a terminal would not show it as it is."""
    wire = json.loads(json.dumps(status.to_wire(), allow_nan=False))
    SCHEMA.validate(wire)
    assert len(json.dumps(wire)) < 32_768

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(key)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            unseen = {letter for letter in value if unicodedata.category(letter) in {"Cc", "Cs"}} - {
                "\n",
                "\t",
            }
            assert not unseen | (set(value) & BIDI)
        elif isinstance(value, int):
            assert abs(value) < 2**63

    walk(wire)


def status_of(answer: Any, texts: tuple[str, str]) -> JobStatus:
    """Return the status that follows from a leader's answer and two termination messages (empty: none)."""
    try:
        leader = LeaderState.read(answer)
    except ValueError:
        leader = None
    pods = []
    for index, text in enumerate(texts):
        ended = Terminated(1, "Error", parse_termination_message(text), NOW)
        pods.append(pod(index)._with(terminated=ended) if text else pod(index).running())
    seen = observed(*pods, leader=leader)
    plan = decide(PROFILED, seen)
    return derive_status(PROFILED.build(), seen, plan, now=NOW)


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\x1b[31m", "\u202e", "\x00", "0-3", "0,2", "0-999999999", "s0", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NUMBER = st.integers(0, 5) | ANY
TEXT = st.text(max_size=30) | ANY
FAILURE = st.none() | st.fixed_dictionaries(
    {"class": st.sampled_from(FailureClass) | TEXT, "message": TEXT},
    optional={"rank": NUMBER, "timeNs": NUMBER, "type": TEXT, "exitCode": NUMBER, "logTail": TEXT},
)
PROGRESS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("step", "totalSteps", "epoch", "stepSeconds", "timeNs"), NUMBER),
        "metrics": st.dictionaries(st.text(max_size=80), NUMBER, max_size=40) | ANY,
    },
)
CAPTURES = st.dictionaries(
    st.sampled_from(["s0", "s1", "s2", "s3", "s00", "hang-0"]),
    st.sampled_from(["", "0-3", "0,2", "1-3,5-999999999"]) | ANY,
    max_size=3,
)
SAID = {"attempt": st.just(0) | NUMBER, "state": st.sampled_from(State)}
MORE = {"failure": FAILURE, "progress": PROGRESS, "captures": CAPTURES}
ANSWERS = ANY | st.fixed_dictionaries(SAID, optional={**MORE, "ordered": NUMBER, "watchdog": TEXT})
MESSAGES = st.just("") | st.fixed_dictionaries({**SAID, "version": st.just(1)}, optional=MORE).map(json.dumps)


@settings(deadline=None)  # a busy machine is no failure
@given(ANSWERS, st.tuples(MESSAGES, MESSAGES))
@example({"attempt": 0, "state": "Running", "captures": [{"id": "s0", "ranks": 5}]}, ("", ""))
@example({"attempt": 0, "state": "Running", "captures": [{"id": "s0", "ranks": [[1]]}]}, ("", ""))
@example(
    {"attempt": 0, "state": "Halted", "failure": {"class": "x" * 4000, "message": "\x1b]0;\u202e"}}, ("", "")
)
@example(
    {"attempt": 0, "state": "Running", "progress": {"step": 1, "stepSeconds": 1e308, "totalSteps": 9}},
    ("", ""),
)
@example({"attempt": 0, "state": "Running", "watchdog": "\x1b[2J\u202e"}, ("", ""))
def test_the_status_is_accepted_whatever_agents_say(answer: Any, messages: tuple[str, str]) -> None:
    check(status_of(answer, messages))


def test_only_planned_captures_are_shown() -> None:
    told = {"s0": "0-3", "s2": "1-3,5-9", "s3": "0-3", "s00": "0-3", "x": "0-3"}
    status = status_of({**RUNNING, "captures": told}, ("", ""))
    assert status.profile is not None
    assert [(found.id, found.phase, found.ranks) for found in status.profile.captures] == [
        ("s0", "Ready", "4/4"),
        ("s2", "Capturing", "3/4"),
    ]


@pytest.mark.parametrize("ranks", ["0-999999998", "0,2-999999998", ",".join(map(str, range(0, 12_000, 2)))])
def test_a_look_costs_what_the_answer_is_long_not_what_it_stands_for(ranks: str) -> None:
    captures = {f"s{number}": ranks for number in range(3)}
    check(status_of({**RUNNING, "captures": captures}, ("", "")))
