"""Ranks are told where all others are, though no agent's plan says it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.agent_runs import plan, star_plans
from support.ports import free_port

if TYPE_CHECKING:
    from typing import Any

    from support.agent_runs import Agents

CLUSTER = '{"cluster":{"chief":"@SERVERS:0:1@","worker":"@SERVERS:1:2@"}}'
SAYS = "import os; print(os.environ['TF_CONFIG'], os.environ['HOSTS'])"


def with_lists(config: dict[str, Any], port: int) -> dict[str, Any]:
    config["ranks"][0]["env"] |= {"TF_CONFIG": CLUSTER, "HOSTS": "@HOSTS:0:3@"}
    return {**config, "serverPort": port}


def test_all_ranks_find_the_same_addresses_in_rank_order(agents: Agents) -> None:
    ports = [free_port() for _ in range(3)]
    configs = [with_lists(config, port) for config, port in zip(star_plans(3, 1), ports, strict=True)]
    runs = [agents.script(config, SAYS) for config in reversed(configs)]
    assert [run.wait() for run in runs] == [0, 0, 0], [run.text("stderr") for run in runs]
    (first, *others) = (run.text("stdout").split() for run in runs)
    assert others == [first, first]
    chief, *workers = (f"127.0.0.1:{port}" for port in ports)
    assert json.loads(first[0]) == {"cluster": {"chief": [chief], "worker": workers}}
    assert first[1] == "127.0.0.1,127.0.0.1,127.0.0.1"


def test_one_worker_finds_itself(agents: Agents) -> None:
    config = plan(serverPort=29599)
    config["ranks"][0]["env"] |= {
        "TF_CONFIG": '{"cluster":{"worker":"@SERVERS:0:1@"}}',
        "HOSTS": "@HOSTS:0:1@",
    }
    run = agents.script(config, SAYS)
    assert run.wait() == 0
    assert run.text("stdout").split() == ['{"cluster":{"worker":["127.0.0.1:29599"]}}', "127.0.0.1"]


def test_a_list_that_linux_would_refuse_is_named(agents: Agents) -> None:
    config = plan(serverPort=29599)
    # Longer once it is filled in, as lists are.
    config["ranks"][0]["env"] |= {"TF_CONFIG": '"@SERVERS:0:1@"' * 7500}
    run = agents.script(config, SAYS)
    assert run.wait() == 2
    assert "Linux takes 131071" in run.failure["message"]
