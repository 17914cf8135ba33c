"""Leaders that a tenant has put in the place of agents: they answer what they like, or never."""

from __future__ import annotations

import base64
import json
import select
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from ftjob.plan.layout import agent_port
from ftjob_protocol.files import TOKEN
from ftjob_protocol.signing.signature import ANSWER_HEADER, NONCE, REQUEST_HEADER, Receiver, Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RUNNING: dict[str, Any] = {"version": 0, "attempt": 0, "state": "Running"}


@dataclass
class Leaders:
    """The leaders of some jobs, all alike."""

    answer: Callable[[int], Any]
    """What is said to the request of this number: bytes, or data that becomes JSON."""
    hang_on_orders: bool = False
    answers: int = 0
    open_orders: int = 0
    most_orders: int = 0
    """How many orders were open at the same time."""
    receivers: list[Receiver] = field(default_factory=list)
    """For each job whose token they know: the others take them for strangers."""
    changed: threading.Condition = field(default_factory=threading.Condition)
    is_over: threading.Event = field(default_factory=threading.Event)

    def await_tokens(self, jobs: int, secrets: Callable[[str], list[dict[str, Any]]]) -> None:
        """Learn the tokens of so many jobs, as their pods do."""
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            data = [found["data"] for found in secrets("secrets") if TOKEN in (found.get("data") or {})]
            if len(data) == jobs:
                with self.changed:
                    tokens = (base64.b64decode(each[TOKEN]).decode() for each in data)
                    self.receivers = [Receiver(token, senders=1000) for token in tokens]
                return
            time.sleep(0.1)
        raise AssertionError(f"no tokens of {jobs} jobs")

    def accept(self, method: str, target: str, header: str) -> tuple[Receiver, Signature] | None:
        """Return who takes a request, and its signature."""
        with self.changed:
            for receiver in self.receivers:
                signed = receiver.accept(method, target, header)
                if signed is not None:
                    return receiver, signed
        return None

    def reply(
        self, method: str, target: str, header: str, connection: socket.socket
    ) -> tuple[bytes, str] | None:
        """Return the answer to a request, and its signature; None to hang up."""
        known = self.accept(method, target, header)
        if known is None:
            return None
        receiver, signed = known
        if method == "POST" and self.hang_on_orders:
            self.hang(connection)
            return None
        is_greeting = target == NONCE
        answer = json.dumps(receiver.welcome()).encode() if is_greeting else self.next_answer()
        return answer, receiver.sign(signed, 200, answer)

    def await_answers(self, count: int, seconds: float = 120) -> None:
        """Wait for so many more requests."""
        with self.changed:
            goal = self.answers + count
            assert self.changed.wait_for(lambda: self.answers >= goal, seconds), f"{self.answers} answers"

    def await_open_orders(self, count: int, seconds: float = 120) -> None:
        """Wait until so many orders were open at once."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.most_orders >= count, seconds), self.most_orders

    def next_answer(self) -> bytes:
        """Return what is said now."""
        with self.changed:
            number, self.answers = self.answers, self.answers + 1
            self.changed.notify_all()
        said = self.answer(number)
        return said if isinstance(said, bytes) else json.dumps(said).encode()

    def hang(self, connection: socket.socket) -> None:
        """Hold an order until the operator gives it up."""
        with self.changed:
            self.open_orders += 1
            self.most_orders = max(self.most_orders, self.open_orders)
            self.changed.notify_all()
        while not self.is_over.is_set():
            readable, _, _ = select.select([connection], [], [], 0.1)
            if readable and not connection.recv(1, socket.MSG_PEEK):
                break
        with self.changed:
            self.open_orders -= 1


@contextmanager
def running_leaders(uids: Iterable[str], leaders: Leaders) -> Iterator[Leaders]:
    """Be the leaders of the jobs with these UIDs, on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._reply()

        def _reply(self) -> None:
            header = self.headers.get(REQUEST_HEADER, "")
            said = leaders.reply(self.command, self.path, header, self.connection)
            if said is None:
                self.close_connection = True
                return
            answer, signature = said
            try:
                self.send_response(200)
                self.send_header(ANSWER_HEADER, signature)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True  # the operator does not read it to its end

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    servers = []
    try:
        for port in {agent_port(uid) for uid in uids}:  # some jobs share a port, here where all share a host
            server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
            server.daemon_threads = True
            servers.append(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        yield leaders
    finally:
        leaders.is_over.set()
        for server in servers:
            server.shutdown()
            server.server_close()
