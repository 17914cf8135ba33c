"""The agents' port among a thousand connections of those who do not have the job's key."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import strangers as program
from support.agent_runs import TOKEN, agents_in, plan, star_plans, wait_for

from ftjob_agent.star.server import HEAD_LIMIT, STRANGERS
from ftjob_protocol.signing.exchange import exchange
from ftjob_protocol.signing.signature import ANSWER_HEADER, REQUEST_HEADER, SCHEME, Sender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.agent_runs import AgentRun, Agents
from support.wire import Wire

NUMBER = 1000
MEGABYTES = 30


@contextmanager
def strangers(port: int) -> Iterator[None]:
    """Surround a port."""
    command = [sys.executable, program.__file__, str(port), str(NUMBER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            yield
        finally:
            process.kill()


def memory_megabytes(run: AgentRun) -> float:
    status = Path(f"/proc/{run.process.pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def processor_seconds(run: AgentRun) -> float:
    fields = Path(f"/proc/{run.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_job_starts_and_runs_on_among_a_thousand_strangers(agents: Agents) -> None:
    leader, other = star_plans(2, 1)
    source = "mark('up')\nwhile not os.path.exists('go'): time.sleep(0.1)"
    first = agents.script(leader, source)
    wait_for(first.progress, "the leader's answer")
    with strangers(first.config["port"]):
        began, used = time.monotonic(), processor_seconds(first)
        second = agents.script(other, source)
        for rank, run in enumerate((first, second)):
            wait_for((run.folder / f"up-{rank}").exists, "the start")
        wait_for(lambda: first.progress().get("ranks", {}).get("running") == 2, "word of both ranks")
        (first.folder / "go").touch()
        wait_for(lambda: first.progress().get("ranks", {}).get("succeeded") == 1, "the first one's end")
        share = (processor_seconds(first) - used) / (time.monotonic() - began)
        print(f"leader: {memory_megabytes(first):.1f} MB, {share:.1%} of a core")  # for who measures
        assert memory_megabytes(first) < MEGABYTES
        (second.folder / "go").touch()
        assert [first.wait(), second.wait()] == [0, 0]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a leader that waits for another agent."""
    with agents_in(tmp_path_factory.mktemp("leader")) as agents:
        run = agents.script(plan(agents=2, startTimeoutSeconds=600), "")
        wait_for(run.progress, "the leader's answer")
        yield int(run.config["port"])


def test_the_oldest_stranger_makes_room_for_the_next(port: int) -> None:
    there = [socket.create_connection(("127.0.0.1", port)) for _ in range(STRANGERS + 20)]
    try:
        assert there[0].recv(1) == b""
        there[-1].sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert there[-1].recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        for stream in there:
            stream.close()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"GET /healthz HT", b""),
        (b"x" * (HEAD_LIMIT + 1), b"HTTP/1.1 431 "),
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: 1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"GET /healthz/x HTTP/1.1\r\n\r\n", b"HTTP/1.1 401 "),
        (b"POST /v1/agents/worker/1 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 401 "),
        (b"GET / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b"HTTP/1.1 411 "),
        (b"GET /healthz HTTP/1.1\r\n\r\n" * 2, b"HTTP/1.1 200 "),
    ],
)
def test_a_stranger_is_answered_once_at_most_and_hung_up_on(port: int, said: bytes, answer: bytes) -> None:
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(said)
        try:
            while data := stream.recv(65536):
                heard += data
        except ConnectionResetError:
            pass  # it has not read all that was said
    assert heard.startswith(answer)
    assert heard.count(b"HTTP/1.1 ") == bool(answer)


def test_a_stranger_that_drips_is_hung_up_on(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.settimeout(0.02)
        for byte in b"GET /healthz HTTP/1.1\r\n\r\n":
            try:
                stream.send(bytes([byte]))
                assert stream.recv(1000) == b""
            except TimeoutError:
                continue
            except OSError:
                pass
            return
    raise AssertionError("it was allowed to go on")


def repeat(port: int, said: bytes) -> list[int]:
    """Say again what was heard, request by request; return the statuses of the answers."""
    statuses = []
    for request in re.split(rb"(?=(?:GET|POST) /v1/)", said):
        if request:
            with socket.create_connection(("127.0.0.1", port)) as stream:
                stream.sendall(request)
                statuses.append(int(stream.recv(65536).split(b" ")[1]))
    return statuses


def test_who_listens_on_the_wire_learns_no_token_and_can_repeat_nothing(agents: Agents) -> None:
    leader, other = star_plans(2, 1)
    source = "mark('up')\nwhile not os.path.exists('go'): time.sleep(0.1)"
    first = agents.script(leader, source)
    wait_for(first.progress, "the leader's answer")
    with Wire(leader["port"]) as between:
        second = agents.script(other | {"leader": {"host": "127.0.0.1", "port": between.port}}, source)
        wait_for(lambda: first.progress().get("ranks", {}).get("running") == 2, "word of both ranks")
        heard = [bytes(said) for said in between.said]
        assert TOKEN.encode() not in b"".join([*heard, between.answered])
        told = b"".join(heard)
        assert b"POST /v1/agents/worker/1" in told
        # A question for the nonce may be repeated; whoever does so gets what the agent has got, and no more.
        assert {200, 401} >= set(repeat(leader["port"], told))
        assert all(
            status == 401
            for said in re.findall(rb"POST /v1/agents.*?(?=(?:GET|POST) /v1/|$)", told, re.DOTALL)
            for status in repeat(leader["port"], said)
        )
        for run in (first, second):
            (run.folder / "go").touch()
        assert [first.wait(), second.wait()] == [0, 0]
        # The same address, port and token, as after a restart of the container.
        again = agents.script(leader, source)
        wait_for(again.progress, "the new leader's answer")
        orders = [said for said in (bytes(said) for said in between.said) if b"POST" in said]
        assert 401 in {status for said in orders for status in repeat(leader["port"], said)}
        assert again.progress()["ranks"]["running"] == 0


def test_a_stranger_at_the_leaders_address_starts_no_rank(agents: Agents) -> None:
    heard = bytearray()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({"nonce": "f" * 32})

        def do_POST(self) -> None:
            self._answer({"command": "Start", "attempt": 0, "version": 2})

        def _answer(self, told: dict[str, Any]) -> None:
            heard.extend(str(self.headers).encode())
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header(ANSWER_HEADER, "0" * 64)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        address = {"host": "127.0.0.1", "port": stranger.server_address[1]}
        run = agents.script(star_plans(2, 1, leader=address)[1], "mark('up')")
        wait_for(lambda: heard.count(SCHEME.encode()) > 2, "questions, and no belief in the answers")
        run.terminate()
        assert run.wait() == 143
        stranger.shutdown()
    assert TOKEN.encode() not in heard
    assert not (run.folder / "up-1").exists()


def test_a_large_message_of_ours_is_taken_and_its_body_is_the_one_that_was_signed(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    sender = Sender(TOKEN)
    body = json.dumps({"attempt": 9, "notes": ["x" * 500_000]}).encode()
    assert exchange(connection, sender, "POST", "/v1/agents/worker/1", body)[0] == 409
    signed = sender.sign("POST", "/v1/agents/worker/1", body)
    connection.request(
        "POST", "/v1/agents/worker/1", body.replace(b"9", b"0", 1), {REQUEST_HEADER: signed.header()}
    )
    assert connection.getresponse().status == 401
    connection.close()
