"""How an agent's life ends: the table of what is known, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.agent_runs import plan

from ftjob_agent.exit import Facts, stopped, stopped_by_signal
from ftjob_protocol.agent_config import AgentConfig, parse
from ftjob_protocol.failures import Failure

ABSENT = stopped("peers absent", "PeersAbsent")
LOST = stopped("lost contact", "LostContact")
EXITED = Failure("Exit", "bad label", rank=3, exit_code=7)
KILLED = Failure("Signal", "by someone on its node", rank=3, type="SIGTERM", exit_code=143)
HANGS = Failure("Hang", "rank 3 waits", rank=3)


def config(*, leads: bool = False) -> AgentConfig:
    ranks: list[dict[str, Any]] = [{"rank": 0 if leads else 1, "localRank": 0, "env": {}}]
    return parse(json.dumps(plan(ranks=ranks, contactTimeoutSeconds=30)))


@pytest.mark.parametrize(
    ("found", "facts", "state", "kind", "code"),
    [
        (EXITED, Facts(), "Failed", "", 7),
        (EXITED, Facts(signals=1, reason=stopped_by_signal()), "Failed", "", 7),
        (Failure("Exception", "bad label", type="ValueError"), Facts(), "Failed", "ValueError", 1),
        (Failure("Config", "command not found", exit_code=127), Facts(), "Failed", "", 127),
        (HANGS, Facts(reason=HANGS), "Failed", "", 143),
        (None, Facts(reason=HANGS), "Stopped", "PeerFailed", 143),
        (None, Facts(reason=EXITED), "Stopped", "PeerFailed", 143),
        (None, Facts(signals=1, reason=stopped_by_signal()), "Stopped", "SIGTERM", 143),
        (None, Facts(reason=LOST, is_own_reason=True), "Stopped", "LostContact", 143),
        (None, Facts(reason=ABSENT, is_own_reason=True), "Stopped", "PeersAbsent", 143),
        (None, Facts(reason=ABSENT), "Stopped", "PeersAbsent", 143),
        (None, Facts(), "Stopped", "", 143),
    ],
    ids=[
        "a rank failed",
        "a rank failed before the pod was told to end",
        "a rank has an exception and no exit code yet",
        "the agent could not start it",
        "a rank of this agent holds up the others",
        "a rank of another agent does",
        "a rank of another agent failed",
        "the pod was told to end",
        "the leader is silent",
        "peers did not come",
        "peers did not come, says the leader",
        "nothing is known",
    ],
)
def test_the_end_follows_from_what_is_known(
    found: Failure | None, facts: Facts, state: str, kind: str, code: int
) -> None:
    end = facts.exit(found, have_succeeded=False)
    assert end.failure is not None
    assert (end.state, end.failure.type, end.exit_code) == (state, kind, code)


def test_ranks_that_have_ended_well_are_a_success_whatever_was_said_meanwhile() -> None:
    end = Facts(signals=1, reason=EXITED).exit(None, have_succeeded=True)
    assert (end.state, end.failure, end.exit_code) == ("Succeeded", None, 0)


def test_who_is_stopped_for_another_rank_says_which() -> None:
    end = Facts(reason=EXITED).exit(None, have_succeeded=False)
    assert end.failure is not None
    assert end.failure.message == "stopped because of rank 3: bad label"


def test_an_end_that_is_judged_again_is_the_same() -> None:
    first = Facts(reason=EXITED).exit(None, have_succeeded=False)
    assert Facts(failure=first.failure, reason=EXITED).exit(first.failure, have_succeeded=False) == first


@pytest.mark.parametrize(
    ("signals", "command", "told", "trouble", "kind"),
    [
        (0, "Start", None, None, None),
        (0, "Wait", None, ABSENT, "PeersAbsent"),
        (0, "Halt", EXITED, None, ""),
        (0, "Stop", stopped_by_signal(), None, "SIGTERM"),
        (0, "Stop", EXITED, LOST, "LostContact"),
        (1, "Stop", EXITED, LOST, "SIGTERM"),
    ],
)
def test_the_reason_from_outside(
    signals: int, command: str, told: Failure | None, trouble: Failure | None, kind: str | None
) -> None:
    facts = Facts(signals=signals)
    facts.hear(command, told, trouble)
    assert (facts.reason and facts.reason.type) == kind
    assert facts.is_own_reason == (kind is not None and facts.reason is trouble)


def test_the_first_reason_stays() -> None:
    facts = Facts()
    facts.hear("Stop", EXITED, None)
    facts.signals = 1
    facts.hear("Stop", HANGS, LOST)
    assert (facts.reason, facts.is_own_reason) == (EXITED, False)


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        (Facts(signals=1), 28),
        (Facts(reason=stopped_by_signal()), 28),
        (Facts(signals=1, reason=EXITED), 28),
        (Facts(reason=EXITED), 1),
        (Facts(reason=KILLED), 1),
        (Facts(reason=LOST, is_own_reason=True), 1),
        (Facts(), 1),
    ],
)
def test_only_ranks_whose_pods_end_have_time_for_a_checkpoint(facts: Facts, seconds: float) -> None:
    assert facts.grace(28) == seconds


@pytest.mark.parametrize(
    ("facts", "command", "allowed"),
    [
        (Facts(), "Start", True),
        (Facts(reason=EXITED), "Halt", True),
        (Facts(reason=EXITED), "Stop", False),
        (Facts(), "Wait", False),
        (Facts(signals=1), "Halt", False),
        (Facts(failure=Failure("Config", "command not found")), "Halt", False),
        (Facts(reason=LOST, is_own_reason=True), "Start", False),
    ],
)
def test_ranks_resume_unless_their_agent_ends(facts: Facts, command: str, allowed: bool) -> None:
    assert facts.allow_resuming(command) == allowed


@pytest.mark.parametrize(
    ("leads", "state", "facts", "seconds"),
    [
        (True, "Succeeded", Facts(), None),
        (False, "Succeeded", Facts(), 30),
        (True, "Failed", Facts(), 5),
        (False, "Failed", Facts(), 5),
        (True, "Stopped", Facts(), 5),
        (False, "Stopped", Facts(), 1),
        (False, "Stopped", Facts(reason=LOST, is_own_reason=True), 0),
        (True, "Stopped", Facts(reason=LOST, is_own_reason=True), 5),
    ],
)
def test_how_long_the_others_are_waited_for(
    leads: bool, state: str, facts: Facts, seconds: float | None
) -> None:
    assert facts.patience(state, config(leads=leads)) == seconds
