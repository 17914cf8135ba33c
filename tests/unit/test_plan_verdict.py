"""The verdict in a job's status: it follows the leader's, and is written when it names something else."""

from __future__ import annotations

from typing import Any

from support.builders import NOW, JobBuilder, decide, job, observed, pod, stamp

from ftjob.models.status import JobStatus, ProfileStatus
from ftjob.plan.status.derive import derive_status
from ftjob_protocol.leader_state import LeaderState
from ftjob_protocol.vitals.verdict import Confidence, Finding, Verdict

TWO = job().workers(2)


def finding(rank: int = 1, share: float = 0.25, **changes: Any) -> Finding:
    said: dict[str, Any] = {
        "ranks": (range(rank, rank + 1),),
        "cause": "Input",
        "line": "load.py:31 decode",
        "excess_ms": 100 * share,
        "evidence": ("own 88 ms, others 63",),
        "next": "raise num_workers",
        **changes,
    }
    return Finding("Straggler", f"straggler: rank {rank} costs {share:.0%}", Confidence.HIGH, share, **said)


def verdict(*findings: Finding) -> Verdict:
    return Verdict(findings[0].text, "Straggler", 0.0, findings)


CLEAR = Verdict("no problem found: 88 % own work (192 steps)", "NoProblem")


def status(wanted: JobBuilder, said: Verdict | None, *, now: float = NOW, attempt: int = 0) -> JobStatus:
    leader = LeaderState(attempt, "Running", {"step": 1}, verdict=said)
    seen = observed(pod(0).running(), pod(1).running(), leader=leader)
    return derive_status(wanted.build(), seen, decide(wanted, seen, now=now), now=now)


def after(found: JobStatus) -> JobBuilder:
    return TWO.running().with_status(profile=found.profile)


def test_a_verdict_stands_in_the_status_with_what_it_rests_on() -> None:
    profile = status(TWO.running(), verdict(finding())).profile
    assert profile is not None
    assert (profile.verdict, profile.verdict_time) == ("straggler: rank 1 costs 25%", stamp(NOW))
    (found,) = profile.findings
    assert (found.kind, found.ranks, found.cause, found.cost_share) == ("Straggler", "1", "Input", 0.25)
    assert (found.line, found.evidence, found.next) == (
        "load.py:31 decode",
        ["own 88 ms, others 63"],
        "raise num_workers",
    )
    (late,) = profile.stragglers
    assert (late.rank, late.node, late.lateness_ms, late.cause) == (1, "node-1", 25.0, "Input")


def test_a_job_of_which_nothing_is_known_has_no_profile() -> None:
    assert status(TWO.running(), None).profile is None


def test_other_numbers_are_no_other_verdict() -> None:
    first = status(TWO.running(), verdict(finding()))
    assert status(after(first), verdict(finding(share=0.31)), now=NOW + 600).profile == first.profile
    clear = status(TWO.running(), CLEAR)
    more = Verdict("no problem found: 91 % own work (384 steps)", "NoProblem")
    assert status(after(clear), more, now=NOW + 600).profile == clear.profile


def test_another_verdict_is_written_once_a_minute_at_most() -> None:
    first = status(TWO.running(), verdict(finding()))
    other = verdict(finding(rank=0))
    assert status(after(first), other, now=NOW + 59).profile == first.profile
    later = status(after(first), other, now=NOW + 60).profile
    assert later is not None
    assert [each.rank for each in later.stragglers] == [0]
    assert later.verdict_time == stamp(NOW + 60)


def test_the_line_does_not_wait_and_then_stays() -> None:
    first = status(TWO.running(), verdict(finding(line="")))
    known = status(after(first), verdict(finding()), now=NOW + 5)
    assert known.profile is not None
    assert known.profile.findings[0].line == "load.py:31 decode"
    assert (
        status(after(known), verdict(finding(line="load.py:32 decode")), now=NOW + 600).profile
        == known.profile
    )


def test_the_first_finding_does_not_wait() -> None:
    clear = status(TWO.running(), CLEAR)
    found = status(after(clear), verdict(finding()), now=NOW + 5).profile
    assert found is not None
    assert found.verdict == "straggler: rank 1 costs 25%"
    over = status(after(status(TWO.running(), verdict(finding()))), CLEAR, now=NOW + 61).profile
    assert over is not None
    assert (over.verdict, over.findings, over.stragglers) == (CLEAR.text, [], [])


def test_a_verdict_outlives_the_leader_s_silence_and_its_attempt() -> None:
    first = status(TWO.running(), verdict(finding()))
    assert status(after(first), None).profile == first.profile
    assert status(after(first), CLEAR, attempt=3, now=NOW + 99).profile == first.profile


def test_a_verdict_on_a_thousand_ranks_stays_small() -> None:
    many = job().workers(1000)
    every_second = tuple(range(rank, rank + 1) for rank in range(0, 1000, 2))
    leader = LeaderState(0, "Running", {"step": 1}, verdict=verdict(finding(ranks=every_second)))
    seen = observed(*(pod(index).running() for index in range(1000)), leader=leader)
    wanted = many.running()
    profile = derive_status(wanted.build(), seen, decide(wanted, seen), now=NOW).profile
    assert profile is not None
    assert len(profile.stragglers) == 16
    assert len(profile.findings[0].ranks) <= 200
    assert ProfileStatus.model_validate(profile.model_dump(by_alias=True)) == profile
