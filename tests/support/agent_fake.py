"""An agent of index 0 where no kubelet starts one: what an operator finds at a pod's address."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from support.star_fake import FakeStar

from ftjob.plan.layout import agent_port
from ftjob_protocol.orders import Order, OrderKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class FakeAgent:
    """Serves the progress of a job whose ranks can be made to fail, and takes orders."""

    def __init__(self) -> None:
        self.star = FakeStar(0)
        self.orders: list[tuple[str, int]] = []
        self.on_order: Callable[[], None] = lambda: None
        """Called before an order is taken."""
        self.lock = threading.Lock()

    def fail(self, rank: int) -> None:
        """Have a rank fail, and all others be dead."""
        with self.lock:
            self.star.halt(rank, time.time())

    def take(self, command: str, attempt: int) -> None:
        """Take an order; a start happens at once."""
        self.on_order()
        with self.lock:
            self.orders.append((command, attempt))
            self.star.take(Order(OrderKind(command), attempt), time.time())
            self.star.go_on(time.time())

    def answer(self) -> bytes:
        """Return what the operator is told."""
        with self.lock:
            report = self.star.report()
        version = 2 * report.attempt + (report.failure is not None)
        return json.dumps(replace(report, version=version).as_json()).encode()


@contextmanager
def running_agent(uid: str) -> Iterator[FakeAgent]:
    """Be the agent of the job with this UID, on the loopback."""
    agent = FakeAgent()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            agent.take(self.path.rpartition("/")[2], body["attempt"])
            self._reply()

        def _reply(self) -> None:
            answer = agent.answer()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", agent_port(uid)), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield agent
    finally:
        server.shutdown()
        server.server_close()
