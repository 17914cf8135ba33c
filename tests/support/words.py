"""What agents may say, sound or not, and the status that follows from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from support.builders import NOW, decide, job, observed, pod

from ftjob.plan.observed.pod import Terminated
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.failures import FailureClass
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.states import State
from ftjob_protocol.termination import parse_termination_message
from ftjob_protocol.vitals.verdict import Confidence

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
        **dict.fromkeys(("step", "totalSteps", "epoch", "stepSeconds", "timeNs", "firstNs"), NUMBER),
        "metrics": st.dictionaries(st.text(max_size=80), NUMBER, max_size=40) | ANY,
    },
)
CAPTURES = st.dictionaries(
    st.sampled_from(["s0", "s1", "s2", "s3", "s00", "hang-0"]),
    st.sampled_from(["", "0-3", "0,2", "1-3,5-999999999"]) | ANY,
    max_size=3,
)
SHARES = st.dictionaries(st.sampled_from(["input", "blocked", "pauses", "x"]), st.floats() | NUMBER) | ANY
FINDING = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["Straggler", "InputBound"]) | TEXT,
        "confidence": st.sampled_from(Confidence) | TEXT,
    },
    optional={
        **dict.fromkeys(("text", "node", "cause", "line", "next"), TEXT),
        "ranks": st.sampled_from(["", "0-3", "0,2", "1-3,5-999999999"]) | ANY,
        **dict.fromkeys(("costShare", "excessMs"), NUMBER),
        "evidence": st.lists(TEXT, max_size=9) | ANY,
    },
)
VERDICT = st.none() | st.fixed_dictionaries(
    {"text": TEXT}, optional={"kind": TEXT, "timeS": NUMBER, "findings": st.lists(FINDING, max_size=5) | ANY}
)
SAID = {"attempt": st.just(0) | NUMBER, "state": st.sampled_from(State)}
MORE = {"failure": FAILURE, "progress": PROGRESS, "captures": CAPTURES}
ANSWERS = ANY | st.fixed_dictionaries(
    SAID, optional={**MORE, "verdict": VERDICT, "ordered": NUMBER, "watchdog": TEXT, "shares": SHARES}
)
MESSAGES = st.just("") | st.fixed_dictionaries({**SAID, "version": st.just(1)}, optional=MORE).map(json.dumps)
