"""What is told once: lists of workers, and what the ranks of an agent have in common."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ftjob_protocol.rank_spec import RankSpec, told_once
from ftjob_protocol.values.peers import VALUE_MAX, address, asks_for_peers, filled, hosts, servers

FOUR = ["10.0.0.1:1", "10.0.0.2:2", "[fd00::3]:3", "10.0.0.4:4"]


def test_lists_are_filled_in_by_place() -> None:
    cluster = json.dumps({"chief": servers(0, 1), "worker": servers(1, 2)})
    assert json.loads(filled(cluster, FOUR)) == {
        "chief": ["10.0.0.1:1"],
        "worker": ["10.0.0.2:2", "[fd00::3]:3"],
    }
    assert filled(f"<{hosts(1, 3)}>", FOUR) == "<10.0.0.2,fd00::3,10.0.0.4>"
    assert asks_for_peers(cluster)
    assert asks_for_peers(hosts(0, 1))


def test_all_else_stays_as_it_is() -> None:
    for value in ("", "@LEADER_IP@:1", "@HOSTS@", '{"a": "@SERVERS@"}'):
        assert filled(value, FOUR) == value
        assert not asks_for_peers(value)


def test_an_ipv6_address_and_a_port_have_brackets_between() -> None:
    assert [address("10.0.0.1", 1), address("fd00::1", 1)] == ["10.0.0.1:1", "[fd00::1]:1"]


def test_three_thousand_tasks_fit_into_a_variable() -> None:
    everyone = [address(f"10.244.{place // 250}.{place % 250}", 29599) for place in range(3000)]
    assert len(filled(json.dumps({"cluster": {"worker": servers(0, 3000)}}), everyone)) < VALUE_MAX / 1.5


VALUES = st.sampled_from(["0", "1", "2", "7", "8", "9", "x", "", "@LEADER_IP@:1"])


@given(st.lists(st.dictionaries(st.sampled_from("ABCD"), VALUES), min_size=1, max_size=4), st.integers(0, 8))
def test_what_is_told_once_is_read_by_each_rank_as_it_was(envs: list[dict[str, str]], first: int) -> None:
    ranks = [RankSpec(first + local, local, env) for local, env in enumerate(envs)]
    told: dict[str, Any] = json.loads(json.dumps(told_once(ranks)))
    read = [RankSpec.told(r["rank"], r["localRank"], told["env"], r.get("env", {})) for r in told["ranks"]]
    assert read == ranks


def test_each_further_rank_costs_its_two_numbers() -> None:
    def size(count: int) -> int:
        ranks = [
            RankSpec(8 + n, n, {"RANK": str(8 + n), "LOCAL_RANK": str(n), "ADDRESS": "@LEADER_IP@:29500"})
            for n in range(count)
        ]
        return len(json.dumps(told_once(ranks)))

    assert size(9) - size(8) == len(', {"rank": 16, "localRank": 8}')
