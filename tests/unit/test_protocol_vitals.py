"""Blocks of steps and verdicts: what is told comes back, and what a stranger says is bounded or refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftjob_protocol.vitals.block import LINES_MAX, PAUSES_TOLD, STEPS_TOLD, RankBlock, Report, medians, told
from ftjob_protocol.vitals.clock import BLOCKED_UNKNOWN, INPUT_UNKNOWN, StepRecord
from ftjob_protocol.vitals.verdict import Confidence, Finding, Verdict
from ftjob_protocol.vitals.where import Line


def steps(first: int, length: int) -> list[StepRecord]:
    return [
        StepRecord(0, first + place, 20_000 + place, 5_000, 12_000, 8_000 + place, 3, 0)
        for place in range(length)
    ]


def block(*found: StepRecord) -> RankBlock:
    return RankBlock(0, 1, 8, found, medians(found), 1.0, 2.0)


BLOCK = RankBlock(
    3,
    first=257,
    length=256,
    steps=told(steps(257, 256)),
    typical=medians(steps(257, 256)),
    start_s=1_700_000_000.25,
    end_s=1_700_000_005.5,
    cpu_ms=18.25,
    graph_ms=12.5,
    run_delay_ms=0.5,
    rss_bytes=2**31,
    where=(Line("train.py:57 load", "input", 0.25),),
)
SAID: dict[str, Any] = BLOCK.as_json()


def test_a_block_comes_back_and_has_about_a_kilobyte() -> None:
    text = json.dumps(SAID)
    read = RankBlock.read(json.loads(text))
    assert read == BLOCK
    assert (read.throttled_ms, read.gpu_bytes) == (None, None)
    assert [step.step for step in read.steps] == list(range(449, 513))
    assert (read.typical.step_ms, read.typical.own_ms, read.typical.blocked_ms) == (20.128, 12.0, 8.128)
    assert len(text) < 1900


def test_what_was_not_seen_stays_unknown() -> None:
    unseen = [StepRecord(9, 1, 900, 0, 800, 100, 0, 8), StepRecord(9, 2, 900, 100, 0, 0, 7, 5)]
    read = RankBlock.read(block(*unseen).as_json())
    assert [(step.input_ms, step.own_ms) for step in read.steps] == [(None, 0.8), (0.1, None)]
    assert (read.steps[1].collectives, read.steps[1].flags & 1) == (7, 1)
    assert (read.typical.input_ms, read.typical.own_ms) == (0.1, 0.8)
    nothing = medians([step._replace(flags=INPUT_UNKNOWN | BLOCKED_UNKNOWN) for step in unseen])
    assert (nothing.input_ms, nothing.own_ms, nothing.blocked_ms) == (None, None, None)


def test_numbers_beyond_what_a_step_can_tell_are_the_largest_that_it_can() -> None:
    (read,) = RankBlock.read(block(StepRecord(0, 1, 2**40, 2**40, 0, 2**40, 999, 0)).as_json()).steps
    assert (read.step_us, read.input_us, read.collectives) == (2**32 - 1, 2**32 - 1, 255)


def test_the_last_steps_of_a_block_are_told_and_its_pauses_before_them() -> None:
    slow = {300, 333}
    some = [step._replace(step_us=900_000) if step.step in slow else step for step in steps(257, 256)]
    assert [step.step for step in told(some)] == [300, 333, *range(449, 513)]
    assert [step.step for step in told(steps(9, 8))] == list(range(9, 17))
    many = [step._replace(step_us=900_000 if step.step < 90 else 100) for step in steps(1, 256)]
    assert len(told(many)) == STEPS_TOLD + PAUSES_TOLD
    assert told(()) == ()
    assert [step.step for step in told(some, 256)] == [300, 333, *range(481, 513)]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"rank": -1}, "block.rank"),
        ({"rank": 10**9}, "block.rank"),
        ({"rank": True}, "block.rank"),
        ({"rank": None}, "block.rank"),
        ({"first": 0}, "block.first"),
        ({"first": 258}, "block.first"),
        ({"first": 2**32}, "block.first"),
        ({"length": 7}, "block.length"),
        ({"length": 2**40}, "block.length"),
        ({"startS": float("nan")}, "block.startS"),
        ({"startS": 10**400}, "block.startS"),
        ({"endS": 1}, "ends before it begins"),
        ({"cpuMs": -1}, "block.cpuMs"),
        ({"cpuMs": "1"}, "block.cpuMs"),
        ({"throttledMs": float("inf")}, "block.throttledMs"),
        ({"rssBytes": 1.5}, "block.rssBytes"),
        ({"gpuBytes": 2**70}, "block.gpuBytes"),
        ({"where": {}}, "block.where"),
        ({"where": ["x"]}, "block.where"),
        ({"where": [["x", "input", 2]]}, "share"),
        ({"where": [[1, "input", 0.5]]}, "block.where.line"),
        ({"steps": None}, "block.steps"),
        ({"steps": "é"}, "base64"),
        ({"steps": "A" * 10_000_000}, "too long"),
        ({"steps": base64.b64encode(b"x" * 17).decode()}, "not whole"),
        ({"steps": base64.b64encode(bytes(32)).decode()}, "rising order"),
        ({"steps": base64.b64encode(b"\xff" * 16).decode()}, "not of the block"),
        ({"steps": base64.b64encode(bytes(12) + b"\1" * 4).decode()}, "not sound"),
        ({"typical": None}, "block.typical"),
        ({"typical": ""}, "block.typical"),
        ({"typical": SAID["steps"]}, "block.typical"),
        ({"where": [["x", "odd", 0.5]]}, "block.where.kind"),
    ],
)
def test_a_block_that_is_none_is_refused_by_name(said: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RankBlock.read({**SAID, **said})


@pytest.mark.parametrize("said", [None, [], "x", {}, {"blocks": 1}, {"blocks": [SAID] * 3}, {"blocks": [[]]}])
def test_a_report_that_is_none_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match=r"vitals|block"):
        Report.read(said, most=2)


def test_a_report_is_bounded_and_clean() -> None:
    said = {
        "node": "\x1b[31mnode" + "x" * 900,
        "memoryLimitBytes": 2**34,
        "blocks": [{**SAID, "where": [["\x1b[0mline\n" + "l" * 900, "input", 0.5]] * 50}],
        "more": "x" * 9000,
    }
    read = Report.read(said, most=2)
    assert (read.node[:5], len(read.node.encode())) == ("nodex", 253)
    assert len(read.blocks[0].where) == LINES_MAX
    assert read.blocks[0].where[0].text.startswith("line l")
    assert Report.read(read.as_json(), most=2) == read


FINDING = Finding(
    "Straggler",
    "straggler: rank 2 costs 25 % of each step",
    Confidence.HIGH,
    0.25,
    [range(2, 3)],
    cause="Input",
    excess_ms=24.5,
    evidence=["own 88 ms, others 63"],
    next="raise num_workers",
)


def test_a_verdict_comes_back() -> None:
    verdict = Verdict(FINDING.text, "Straggler", 1_700_000_000.0, [FINDING])
    read = Verdict.read(json.loads(json.dumps(verdict.as_json())))
    assert read is not None
    assert read.as_json() == verdict.as_json()
    assert read.findings[0].ranks == (range(2, 3),)
    assert Verdict.read(None) is None


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"kind": None}, "finding.kind"),
        ({"kind": "two words"}, "finding.kind"),
        ({"kind": 'a"} 1'}, "finding.kind"),
        ({"kind": "x" * 900}, "finding.kind"),
        ({"cause": "\n"}, ""),
        ({"confidence": "Sure"}, "finding.confidence"),
        ({"costShare": 2}, "finding.costShare"),
        ({"costShare": True}, "finding.costShare"),
        ({"ranks": [2]}, "finding.ranks"),
        ({"ranks": "5-2"}, "ranges"),
        ({"excessMs": -1}, "finding.excessMs"),
        ({"evidence": "x"}, "finding.evidence"),
        ({"text": 5}, "finding.text"),
    ],
)
def test_a_finding_that_is_none_is_refused_by_name(said: dict[str, Any], named: str) -> None:
    said = {**FINDING.as_json(), **said}
    if not named:
        assert Finding.read(said).cause == ""
        return
    with pytest.raises(ValueError, match=named):
        Verdict.read({"text": "", "findings": [said]})


def test_the_same_finding_with_other_numbers_is_the_same_verdict() -> None:
    later = Finding.read({**FINDING.as_json(), "costShare": 0.31, "text": "other numbers", "excessMs": 30})
    other = Finding.read({**FINDING.as_json(), "ranks": "3"})
    assert Verdict("a", "Straggler", 1, [FINDING]).identity == Verdict("b", "Straggler", 2, [later]).identity
    assert Verdict("a", "Straggler", 1, [FINDING]).identity != Verdict("a", "Straggler", 1, [other]).identity
    assert Verdict("no problem found: 88 %").identity == Verdict("no problem found: 89 %").identity


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(SAID)), JSON)
def test_a_block_is_read_or_refused(field: str, value: Any) -> None:
    try:
        read = RankBlock.read({**SAID, field: value})
    except ValueError:
        return
    assert len(json.dumps(read.as_json())) < 20_000


@given(st.sampled_from(sorted(FINDING.as_json())), JSON)
def test_a_verdict_is_read_or_refused(field: str, value: Any) -> None:
    try:
        read = Verdict.read({"text": "x", "findings": [{**FINDING.as_json(), field: value}]})
    except ValueError:
        return
    assert read is not None
    assert len(json.dumps(read.as_json())) < 20_000
