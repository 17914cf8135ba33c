"""Horovod's store, served by the leader's child; ranks of two workers that add up their numbers."""

from __future__ import annotations

import base64
import http.client
import json
import pickle
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.agent_runs import TIMEOUT, TOKEN, elastic_plan, plan, star_plans, wait_for
from support.ports import free_port

from ftjob_protocol.signing.exchange import exchange
from ftjob_protocol.signing.signature import Sender

if TYPE_CHECKING:
    from pathlib import Path

    from support.agent_runs import AgentRun, Agents


def horovod_env(rank: int, size: int, port: int) -> dict[str, str]:
    """Return what the plan gives to a rank that is alone in its worker."""
    return {
        "FTJOB_RANK": str(rank),
        "HOROVOD_HOSTNAME": f"digits-worker-0-{rank}",
        "HOROVOD_RANK": str(rank),
        "HOROVOD_SIZE": str(size),
        "HOROVOD_LOCAL_RANK": "0",
        "HOROVOD_LOCAL_SIZE": "1",
        "HOROVOD_CROSS_RANK": str(rank),
        "HOROVOD_CROSS_SIZE": str(size),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": "@LEADER_IP@",
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": "@IFACE@",
    }


def test_horovod_ranks_of_two_workers_find_each_other_and_add_up(agents: Agents) -> None:
    port = free_port()
    configs = star_plans(2, 1, strategy="Horovod")
    for rank, config in enumerate(configs):
        config["ranks"][0]["env"] = horovod_env(rank, 2, port)
    configs[0]["rendezvous"] = {"kind": "Horovod", "port": port, "hostPrefix": "digits-worker-0-"}
    source = """
import torch, horovod.torch as hvd

hvd.init()
print(int(hvd.allreduce(torch.tensor([hvd.rank() + 1]), op=hvd.Sum)))
"""
    runs = [agents.start(config, [sys.executable, "-c", source]) for config in reversed(configs)]
    assert [run.wait(200) for run in runs] == [0, 0], [run.text("stderr") for run in runs]
    assert [run.text("stdout").strip() for run in runs] == ["3", "3"]


def test_a_python_without_horovod_is_named(agents: Agents, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S: without site packages
    python.chmod(0o755)
    config = plan(strategy="Horovod", rendezvous={"kind": "Horovod", "port": free_port(), "hostPrefix": "a"})
    run = agents.start(config, [str(python), "-c", ""])
    assert run.wait() == 2
    assert run.failure["class"] == "Config"
    assert "horovod cannot be imported by" in run.failure["message"]


def test_a_rendezvous_port_in_use_is_named(agents: Agents) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = plan(strategy="Horovod", rendezvous={"kind": "Horovod", "port": port, "hostPrefix": "a"})
        run = agents.script(config, "mark('up')")
        assert run.wait() == 2
    assert run.failure["class"] == "Config"
    assert f"port {port}" in run.failure["message"]
    assert not (run.folder / "up-0").exists()


LEADER, ELSEWHERE, ANOTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def ask(port: int, source: str, method: str, path: str, body: bytes | None = None) -> int | None:
    """Return the status of an answer; None if it hangs up."""
    connection = http.client.HTTPConnection(LEADER, port, timeout=TIMEOUT, source_address=(source, 0))
    try:
        connection.request(method, path, body)
        return connection.getresponse().status
    except (ConnectionError, http.client.BadStatusLine):
        return None
    finally:
        connection.close()


def serve(agents: Agents, kind: str) -> tuple[AgentRun, int]:
    """Start a leader that waits for a second agent once its rendezvous is up; return the port of that."""
    port = free_port()
    rendezvous = {"kind": kind, "port": port, "hostPrefix": "a"}
    changes: dict[str, Any] = {"strategy": "Horovod", "rendezvous": rendezvous}
    if kind == "HorovodElastic":
        config = elastic_plan(0, free_port(), env={}, **changes)
    else:
        config = star_plans(2, 1, **changes)[0]
    source = "import signal; signal.pause()"
    run = agents.start(config, [sys.executable, "-c", source])
    wait_for(lambda: ask(port, LEADER, "GET", "/x/y") == 404 if listens(port) else None, "the rendezvous")
    return run, port


def listens(port: int) -> bool:
    try:
        socket.create_connection((LEADER, port)).close()
    except OSError:
        return False
    return True


def report(run: AgentRun, source: str) -> int:
    """Be the second agent, at another address."""
    message = {"attempt": 0, "life": "a life", "sequence": 1, "state": "Waiting"}
    connection = http.client.HTTPConnection(LEADER, run.config["port"], TIMEOUT, source_address=(source, 0))
    try:
        return exchange(
            connection, Sender(TOKEN), "POST", "/v1/agents/worker/1", json.dumps(message).encode()
        )[0]
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["Horovod", "HorovodElastic"])
def test_only_hosts_of_agents_that_have_shown_the_token_may_use_the_rendezvous(
    agents: Agents, kind: str
) -> None:
    run, port = serve(agents, kind)
    assert ask(port, LEADER, "PUT", "/scope/key", b"value") == 200
    for path in ("/scope/key", "/worker_addresses/a:0", "/rank_and_size/a:0"):
        for method, body in (("GET", None), ("PUT", b"other"), ("DELETE", None)):
            assert ask(port, ELSEWHERE, method, path, body) is None
    assert ask(port, LEADER, "GET", "/scope/key") == 200
    assert report(run, ELSEWHERE) == 200
    wait_for(lambda: ask(port, ELSEWHERE, "GET", "/scope/key") == 200, "the agent's host being let in")
    assert ask(port, ANOTHER, "GET", "/scope/key") is None


def test_the_elastic_driver_runs_nothing_and_connects_to_nobody_but_who_speaks_to_it(
    agents: Agents, tmp_path: Path
) -> None:
    _, port = serve(agents, "HorovodElastic")
    ran = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(ran), "w"))

    with socket.create_server((ELSEWHERE, 0)) as listener:
        for value in (
            (Touch(), b"key"),
            ({"lo": [(ELSEWHERE, listener.getsockname()[1])]}, b"k" * 32),
            "nonsense",
        ):
            encoded = base64.b64encode(pickle.dumps(value))
            assert ask(port, LEADER, "PUT", "/worker_addresses/a:0", encoded) == 400
            assert ask(port, LEADER, "GET", "/worker_addresses/a:0") == 404
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not ran.exists()
