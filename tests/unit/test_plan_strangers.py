"""Whatever agents say, the status is one that the API server accepts, and what it costs has a bound."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpus import saved, to_save
from support.words import ANSWERS, MESSAGES, status_of

from ftjob.api.crd import build_crd

if TYPE_CHECKING:
    from ftjob.models.status import JobStatus

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


@given(ANSWERS, st.tuples(MESSAGES, MESSAGES))
@saved("words")
def test_the_status_is_accepted_whatever_agents_say(answer: Any, messages: tuple[str, str]) -> None:
    to_save("words", answer, messages)
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
