"""An agent of index 0 where no kubelet starts one: what an operator finds at a pod's address."""

from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.star_fake import FakeStar

from ftjob.plan.layout import agent_port
from ftjob_protocol.captures.order import PATH, Asked, CaptureOrder, CapturePhase
from ftjob_protocol.files import TOKEN
from ftjob_protocol.orders import Order, OrderKind
from ftjob_protocol.signing.signature import ANSWER_HEADER, NONCE, REQUEST_HEADER, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ftjob_protocol.vitals.verdict import Verdict

WAIT_SECONDS = 60.0


class FakeAgent:
    """Serves the progress of a job whose ranks can be made to fail, and takes orders."""

    def __init__(self) -> None:
        self.star = FakeStar(0)
        self.orders: list[tuple[str, int]] = []
        self.captures: list[CaptureOrder] = []
        self.asked: tuple[Asked, ...] = ()
        """What it says of captures."""
        self.verdict: Verdict | None = None
        self.on_order: Callable[[], None] = lambda: None
        """Called before an order of ranks is taken."""
        self.on_capture: Callable[[], None] = lambda: None
        """Called once the order of a capture was taken, before it is answered."""
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

    def capture(self, order: CaptureOrder) -> None:
        """Take the order of a capture, which is known from then on."""
        with self.lock:
            self.captures.append(order)
            if all(asked.id != order.id for asked in self.asked):
                self.asked += (Asked(order.id, CapturePhase.ARMED, 2, 2),)
        self.on_capture()

    def say(self, *asked: Asked) -> None:
        """Say this of captures from now on."""
        with self.lock:
            self.asked = asked

    def answer(self) -> bytes:
        """Return what the operator is told."""
        with self.lock:
            report, asked, verdict = self.star.report(), self.asked, self.verdict
        version = 2 * report.attempt + (report.failure is not None)
        return json.dumps(replace(report, version=version, asked=asked, verdict=verdict).as_json()).encode()


def token_of(job: dict[str, Any], secrets: Callable[[str], list[dict[str, Any]]]) -> str:
    """Return the token of a job as soon as the operator has written it down."""
    uid = job["metadata"]["uid"]
    limit = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < limit:
        for secret in secrets("secrets"):
            owners = [owner["uid"] for owner in secret["metadata"].get("ownerReferences", ())]
            if uid in owners:
                return base64.b64decode(secret["data"][TOKEN]).decode()
        time.sleep(0.1)
    raise AssertionError(f"no token of the job in {WAIT_SECONDS:g} s")


@contextmanager
def running_agent(uid: str, token: str) -> Iterator[FakeAgent]:
    """Be the agent of the job with this UID, on the loopback."""
    agent, receiver = FakeAgent(), Receiver(token, senders=1000)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(b"")

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers["Content-Length"])))

        def _reply(self, body: bytes) -> None:
            with agent.lock:
                signed = receiver.accept(self.command, self.path, self.headers.get(REQUEST_HEADER, ""))
            if signed is None or not signed.covers(body):
                self.send_error(401)
                return
            if self.path == NONCE:
                answer = json.dumps(receiver.welcome()).encode()
            else:
                if self.command == "POST" and self.path == PATH:
                    agent.capture(CaptureOrder.read(json.loads(body)))
                elif self.command == "POST":
                    agent.take(self.path.rpartition("/")[2], json.loads(body)["attempt"])
                answer = agent.answer()
            self.send_response(200)
            self.send_header(ANSWER_HEADER, receiver.sign(signed, 200, answer))
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
