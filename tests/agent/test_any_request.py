"""Any bytes at the agents' port, and any request of those who have the token: the leader goes on."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.agent_runs import TOKEN, agents_in, plan, wait_for
from support.corpus import examples, saved, to_save

from ftjob_protocol.signing.exchange import greet
from ftjob_protocol.signing.signature import REQUEST_HEADER, Sender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.agent_runs import AgentRun

REFUSALS = {400, 401, 404, 405, 409, 411, 413, 431}
TARGETS = [
    *("/healthz", "/v1/nonce", "/v1/progress", "/v1/start", "/v1/end", "/v1/servers", "/v1/agents/worker/1"),
    "/v1/agents/worker/",
]
MORE = [
    *(
        "",
        "?",
        "?version=1&wait=x",
        "?version=9&wait=nan",
        "?wait=-1",
        "?version=1e9",
        "/",
        "/../x",
        "\xb2",
        "%00",
    )
]
METHODS = st.sampled_from(["GET", "POST", "PUT", "HEAD", "get", "", "\x00"])
TARGET = st.builds(str.__add__, st.sampled_from(TARGETS), st.sampled_from(MORE)) | st.text(
    st.characters(max_codepoint=255, exclude_characters=" \r\n"), max_size=20
)
NUMBERS = st.sampled_from(["0", "1", "-1", "+1", "1e3", "\xb2", "", "9" * 400, "4097", "1048577"])
HEADERS = st.lists(
    st.builds("Content-Length: {}".format, NUMBERS)
    | st.builds(f"{REQUEST_HEADER}: {{}}".format, st.text(st.characters(max_codepoint=255), max_size=60))
    | st.sampled_from(
        ["Transfer-Encoding: chunked", "Connection: close", "Host", ":", " folded", "x: " + "y" * 5000]
    ),
    max_size=4,
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.", "HTTP/2", "", "HTTP/1.1 x"])
ENDS = st.sampled_from(["\r\n\r\n", "\n\n", "\r\n", ""])


def head(method: str, target: str, version: str, headers: list[str], end: str) -> bytes:
    return ("\r\n".join([f"{method} {target} {version}", *headers]) + end).encode("latin-1")


BYTES = st.lists(
    st.binary(max_size=60) | st.builds(head, METHODS, TARGET, VERSIONS, HEADERS, ENDS), min_size=1, max_size=3
).map(lambda parts: b"".join(parts).decode("latin-1"))
NUMBER: st.SearchStrategy[Any] = st.integers(-1, 3) | st.sampled_from(
    [2**70, 1.5, float("nan"), True, None, "0", [], {}]
)
BODIES = st.text(st.characters(max_codepoint=255), max_size=20) | st.dictionaries(
    st.sampled_from(
        ["attempt", "waitSeconds", "life", "sequence", "state", "ranks", "seen", "failure", "progress"]
    ),
    NUMBER | st.sampled_from(["Failed", "x", {"rank": []}, [[0]]]),
    max_size=5,
).map(json.dumps)


@pytest.fixture(scope="module")
def leader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRun]:
    """Return a leader that waits for other agents."""
    with agents_in(tmp_path_factory.mktemp("leader")) as agents:
        run = agents.script(plan(agents=4, startTimeoutSeconds=600), "")
        wait_for(run.progress, "the leader's answer")
        yield run


def answers(port: int, said: bytes, *, to_the_end: bool = True) -> bytes:
    """Say something, and return what comes back until the other end hangs up, or for the first time."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.settimeout(30)
        try:
            stream.sendall(said)
            if to_the_end:
                stream.shutdown(socket.SHUT_WR)
            while data := stream.recv(65536):
                heard += data
                if not to_the_end:
                    break
        except OSError:
            pass  # it has not read all that was said
    return heard


@settings(max_examples=examples(0.25))
@given(BYTES)
@saved("requests")
def test_strangers_bytes_are_refused_once_and_hurt_nobody(leader: AgentRun, text: str) -> None:
    to_save("requests", text)
    heard = answers(leader.config["port"], text.encode("latin-1"))
    assert heard.count(b"HTTP/1.1 ") <= 1
    if heard:
        assert int(heard.split(b" ")[1]) in REFUSALS | ({200} if "GET /healthz HTTP/1." in text else set())
    assert answers(leader.config["port"], head("GET", "/healthz", "HTTP/1.1", [], "\r\n\r\n")).startswith(
        b"HTTP/1.1 200 "
    )


@pytest.fixture(scope="module")
def sender(leader: AgentRun) -> Sender:
    found = Sender(TOKEN)
    connection = http.client.HTTPConnection("127.0.0.1", leader.config["port"])
    greet(connection, found)
    connection.close()
    return found


@settings(max_examples=examples(0.25))
@given(METHODS, TARGET, BODIES)
@saved("signed")
def test_a_signed_request_that_is_not_sound_is_refused_and_hurts_nobody(
    leader: AgentRun, sender: Sender, method: str, target: str, text: str
) -> None:
    to_save("signed", method, target, text)
    body = text.encode("latin-1")
    signed = sender.sign(method, target, body)
    headers = [f"{REQUEST_HEADER}: {signed.header()}", f"Content-Length: {len(body)}"]
    said = head(method, target, "HTTP/1.1", headers, "\r\n\r\n") + body
    heard = answers(leader.config["port"], said, to_the_end=False)
    assert int(heard.split(b" ")[1]) in REFUSALS | {200}, heard
    assert leader.progress()["state"] == "Waiting"
