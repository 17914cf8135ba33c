"""What an agent adds to the environment of its ranks."""

import json
from typing import Any

import pytest
from support.agent_runs import plan

from ftjob_agent.ranks import environment
from ftjob_protocol.agent_config import parse

SCHEDULE = {"skipFirst": 1, "wait": 1, "warmup": 1, "active": 2, "repeat": 1}


def profiling(mode: str, *tools: str) -> dict[str, Any]:
    return {"mode": mode, "schedule": SCHEDULE, "ranks": [0], "tools": list(tools), "options": {}}


@pytest.mark.parametrize(
    ("profiled", "own", "found"),
    [
        (profiling("Scheduled", "Framework"), {}, "DYNAMIC"),
        (profiling("Scheduled", "Framework"), {"HOROVOD_TIMELINE": "/mine"}, "/mine"),
        (profiling("Scheduled", "System"), {}, None),
        (profiling("OnDemand", "Framework"), {}, None),
        (profiling("OnDemand", "Framework"), {"HOROVOD_TIMELINE": "DYNAMIC"}, "DYNAMIC"),
        (None, {}, None),
    ],
)
def test_horovod_gets_a_timeline_only_where_a_schedule_has_use_for_it(
    profiled: dict[str, Any] | None, own: dict[str, str], found: str | None
) -> None:
    """One that waits to be started keeps a core of rank 0 busy, for the whole job."""
    ranks = [{"rank": rank, "localRank": rank, "env": {"HOROVOD_RANK": str(rank)}} for rank in (0, 1)]
    config = parse(json.dumps(plan(ranks=ranks, worldSize=2, outputs="/outputs", profiling=profiled)))
    for spec in config.ranks:  # all ranks, whichever are profiled
        env = environment.of_rank(config, spec, own, ("127.0.0.1", "lo"))
        assert env.get("HOROVOD_TIMELINE") == found


def test_others_know_of_no_timeline() -> None:
    profiled = profiling("Scheduled", "Framework")
    config = parse(json.dumps(plan(outputs="/outputs", profiling=profiled)))
    assert "HOROVOD_TIMELINE" not in environment.of_rank(config, config.ranks[0], {}, ("127.0.0.1", "lo"))
