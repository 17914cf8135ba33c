"""How often waiting agents ask the DNS for their leader."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from ftjob_agent.star.lookup import Lookup, absolute

if TYPE_CHECKING:
    from pathlib import Path

HOST = "digits-worker-0-0.digits.team.svc"


def unknown(_host: str) -> list[str]:
    raise OSError("Name or service not known")


def times_of_asking(agents: int, seconds: float, *, seed: int) -> list[float]:
    """Return when an agent asks that tries every tenth of a second, and is told of no such host."""
    asked: list[float] = []
    now = [0.0]

    def ask(host: str) -> list[str]:
        asked.append(now[0])
        return unknown(host)

    lookup = Lookup(HOST, "team", agents, ask=ask, chance=random.Random(seed).random)
    for tick in range(int(seconds * 10)):
        now[0] = tick / 10
        with pytest.raises(OSError, match="not known"):
            lookup.addresses(now[0])
    return asked


@pytest.mark.parametrize("agents", [300, 1000])
def test_a_large_job_s_agents_that_wait_ask_200_times_a_second_at_most(agents: int) -> None:
    asked = sorted(
        when for seed in range(agents) for when in times_of_asking(agents, 15, seed=seed) if when > 0
    )
    busiest = max(sum(begin <= when < begin + 1 for when in asked) for begin in range(15))
    assert 50 < busiest <= 200


def test_an_agent_of_a_small_job_asks_every_second_and_at_first_more_often() -> None:
    asked = times_of_asking(4, 20, seed=1)
    assert len([when for when in asked if when < 1]) >= 3
    assert 10 < len([when for when in asked if when >= 1]) < 40


def test_who_was_told_asks_no_more_until_nobody_answers_there() -> None:
    asked: list[str] = []
    lookup = Lookup("10.0.0.7", "team", 4, ask=lambda host: [asked.append(host) or host], chance=lambda: 0.5)  # type: ignore[func-returns-value]
    for now in (0.0, 10.0, 20.0):
        assert lookup.addresses(now) == ["10.0.0.7"]
    assert len(asked) == 1
    lookup.failed(20.0)
    lookup.failed(20.05)  # the pause stands
    assert lookup.addresses(20.05) == ["10.0.0.7"]
    assert len(asked) == 1
    lookup.addresses(20.2)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        ("team.svc.cluster.local svc.cluster.local cluster.local", f"{HOST}.cluster.local."),
        ("team.svc.example.org. corp.example", f"{HOST}.example.org."),
        ("other.svc.cluster.local corp.example", HOST),
        ("", HOST),
    ],
)
def test_the_cluster_s_domain_is_the_resolvers_own(searched: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(f"nameserver 10.0.0.10\nsearch {searched}\noptions ndots:5\n")
    assert absolute(HOST, "team", str(tmp_path / "resolv.conf")) == expected
    assert absolute("127.0.0.1", "team", str(tmp_path / "resolv.conf")) == "127.0.0.1"
    assert absolute(HOST, "team", str(tmp_path / "none")) == HOST
