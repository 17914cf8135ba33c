"""Which rank is to blame, and how it is told."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import NOW, PodBuilder, agent_message, pod

from ftjob.plan.life.first_failure import first_failure, sentence
from ftjob_protocol.termination import parse_termination_message
from ftjob_protocol.values.ranges import format_indexes, parse_indexes


@pytest.mark.parametrize(
    ("pods", "rank", "reason"),
    [
        ([pod(0).failed(rank=0, at=NOW + 1), pod(1).failed(rank=3, at=NOW)], 3, "Exception"),
        ([pod(0).failed(kind="PeerLost", rank=0, at=NOW - 5), pod(1).failed(rank=2, at=NOW)], 2, "Exception"),
        ([pod(0).failed(kind="Stopped", rank=0, at=NOW - 9), pod(1).failed(kind="PeerLost", rank=2)], 2,
         "PeerLost"),
        ([pod(0).failed(kind="Stopped", rank=0, at=NOW - 9), pod(1).failed(137, kind="Signal", rank=2)], 2,
         "Signal"),
        ([pod(0).failed(kind="Exit", rank=1, at=NOW), pod(1).failed(kind="Signal", rank=2, at=NOW - 1)], 2,
         "Signal"),
        # A node whose clock is an hour ahead: its own exception still comes before a victim.
        ([pod(0).failed(rank=0, at=NOW + 3600), pod(1).failed(kind="PeerLost", rank=1, at=NOW)], 0,
         "Exception"),
        ([pod(0).failed(rank=0, at=NOW), pod(1).failed(rank=1, at=NOW)], 0, "Exception"),
        ([pod(1).failed(rank=7, at=NOW - 1), pod(0).succeeded()], 7, "Exception"),
        ([pod(0).failed(137, kind="Signal", reason="OOMKilled", rank=5)], 5, "OOMKilled"),
        ([pod(0).failed(137, kind=None, reason="OOMKilled")], None, "OOMKilled"),
        ([pod(0).failed(1, kind=None)], None, "Exit"),
        ([pod(0).failed(137, kind=None, reason="Evicted")], None, "Evicted"),
        ([pod(0).failed(137, kind=None).disrupted("PreemptionByScheduler")], None, "PreemptionByScheduler"),
        ([pod(0).running().gone()], None, "PodDeleted"),
        ([pod(0).running().disrupted("DeletionByTaintManager").gone()], None, "DeletionByTaintManager"),
        # A deleted pod's agent stops its ranks: the deletion is the cause, not the peers that it leaves.
        ([pod(0).failed(143, kind="Stopped", rank=0).deleting(), pod(1).failed(kind="PeerLost", rank=1)], 0,
         "PodDeleted"),
        ([pod(0).failed(143, kind="Stopped", rank=0).disrupted("EvictionByEvictionAPI"),
          pod(1).failed(kind="PeerLost", rank=1, at=NOW - 3)], 0, "EvictionByEvictionAPI"),
        # Its agent may be killed before it has said a word, where the grace period is over first.
        ([pod(0).failed(137, kind=None, reason="Error").deleting(), pod(1).failed(kind="PeerLost", rank=1)],
         None, "PodDeleted"),
        ([pod(0).failed(137, kind=None, reason="OOMKilled").deleting()], None, "OOMKilled"),
        ([pod(0).without_contact(), pod(1).failed(kind="PeerLost", rank=1, at=NOW - 5)], None, "LostContact"),
        ([pod(0).without_contact(), pod(1).failed(7, kind="Exit", rank=1, at=NOW + 5)], 1, "Exit"),
        ([pod(0).without_contact("PeersAbsent"), pod(1).failed(kind="Stopped", rank=1, at=NOW - 5)], None,
         "PeersAbsent"),
        ([pod(0).without_contact(), pod(1).running().lost()], None, "NodeLost"),
    ],
    ids=[
        "the earlier of two exceptions", "a victim that exits first", "a stopped rank is never first",
        "a signal before a stopped rank", "exits and signals by time", "a clock ahead",
        "the lower index at the same time", "successes are no failures", "OOM with the agent's word",
        "OOM without it", "an exit without the agent's word", "an eviction", "a preemption", "a deleted pod",
        "a pod on a lost node", "a deletion with the agent's word", "an eviction with the agent's word",
        "a deletion without the agent's word", "out of memory while being deleted",
        "a lost peer of a cut network", "an exit before lost contact", "absent peers before a stopped rank",
        "a lost node before the contact with it",
    ],
)  # fmt: skip
def test_the_first_failing_rank(pods: list[PodBuilder], rank: int | None, reason: str) -> None:
    for order in (pods, pods[::-1]):
        end = first_failure(builder.state for builder in order)
        assert end is not None
        found = end.failure
        assert (found.rank, found.reason) == (rank, reason)


def test_without_failed_pods_there_is_no_failure() -> None:
    assert first_failure(p.state for p in (pod(0).running(), pod(1).succeeded(), pod(2))) is None


def test_a_failure_says_where_it_was_and_its_own_exit_code() -> None:
    text = "Traceback\n  File\nValueError: shapes differ\n"
    end = first_failure([pod(3).running().failed(42, rank=6, text=text).state])
    assert end is not None
    found = end.failure
    assert (found.role, found.index, found.pod, found.node) == ("worker", 3, "digits-worker-0-3", "node-3")
    assert found.exit_code == 42
    assert (found.message, found.log_tail) == (text, "the last line of rank 6")
    assert sentence(found) == (
        "rank 6 (pod digits-worker-0-3 on node-3) failed with exit code 42: ValueError: shapes differ"
    )


def test_a_rank_that_hangs_has_no_exit_code_and_comes_before_those_it_held_up() -> None:
    text = "rank 3:\n  load (data.py:7)\nno step for 60 s: rank 3 is at load (data.py:7)"
    hang = pod(1).running().failed(143, kind="Hang", rank=3, text=text, at=NOW + 5)
    said = json.loads(agent_message(kind="Hang", rank=3, text=text))
    said["failure"]["exitCode"] = None
    assert hang.state.terminated is not None
    ended = dataclasses.replace(hang.state.terminated, message=parse_termination_message(json.dumps(said)))
    pods = [dataclasses.replace(hang.state, terminated=ended), pod(0).failed(143, kind="Stopped").state]
    end = first_failure(pods)
    assert end is not None
    assert not end.disruption
    assert (end.failure.rank, end.failure.reason, end.failure.exit_code) == (3, "Hang", None)
    assert sentence(end.failure).endswith(" failed: no step for 60 s: rank 3 is at load (data.py:7)")


def test_without_a_rank_the_worker_is_named() -> None:
    end = first_failure([pod(1).running().gone().state])
    assert end is not None
    found = end.failure
    assert sentence(found).startswith("worker 1 (pod digits-worker-0-1 on node-1) failed: pod digits-")


def test_indexes_are_written_as_ranges() -> None:
    assert format_indexes([5, 3, 4, 0, 3]) == "0,3-5"
    assert format_indexes([]) == ""
    assert parse_indexes("0,3-5") == {0, 3, 4, 5}
    assert parse_indexes("") == frozenset()


@given(st.frozensets(st.integers(0, 60)))
def test_indexes_come_back_as_they_were_written(indexes: frozenset[int]) -> None:
    assert parse_indexes(format_indexes(indexes)) == indexes


@pytest.mark.parametrize("kind", ["LostContact", "PeersAbsent"])
@pytest.mark.parametrize("said_as", ["Stopped", "Config"])
def test_agents_that_do_not_hear_each_other_are_a_disruption(kind: str, said_as: str) -> None:
    """Agents of earlier versions say ``Config`` of absent peers."""
    told = agent_message(kind=said_as, exit_code=2).replace('"type": ""', f'"type": "{kind}"')
    ended = pod(0).failed(2).state
    assert ended.terminated is not None
    message = parse_termination_message(told)
    state = dataclasses.replace(ended, terminated=dataclasses.replace(ended.terminated, message=message))
    end = first_failure([state])
    assert end is not None
    assert (end.failure.reason, end.disruption, end.is_consequence) == (kind, True, True)
